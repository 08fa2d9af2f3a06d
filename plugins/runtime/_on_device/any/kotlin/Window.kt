// Runs one window: into the model's inputs, through the model, and back. Needs ONNX Runtime.
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.io.File
import java.nio.FloatBuffer

/** Opens the models of the bundle in [folder]; throws OrtException where it cannot. */
class Window(folder: File) : AutoCloseable {
    private val env = OrtEnvironment.getEnvironment().apply { setTelemetry(false) }
    private val sessions: List<OrtSession> = listOfNotNull(
        host(folder, Bundle.FORWARD), openModel(env, folder), host(folder, Bundle.INVERSE)
    )

    /** Maps numbers in the order of INPUT_SHAPE to numbers in the order of OUTPUT_SHAPE. */
    fun run(window: FloatArray): FloatArray {
        val made = ArrayList<OrtSession.Result>()
        OnnxTensor.createTensor(env, FloatBuffer.wrap(window), Bundle.INPUT_SHAPE).use { input ->
            try {
                val values = hashMapOf(Bundle.INPUT to input)
                for (session in sessions) {
                    val result = session.run(values.filterKeys { it in session.inputNames })
                    made.add(result)
                    for ((name, value) in result) values[name] = value as OnnxTensor
                }
                val output = values.getValue(Bundle.OUTPUT).floatBuffer
                return FloatArray(output.remaining()).also { output.get(it) }
            } finally {
                made.forEach { it.close() }
            }
        }
    }

    override fun close() = sessions.forEach { it.close() }

    private fun host(folder: File, file: String): OrtSession? =
        if (file == "") null else openOnCpu(env, File(folder, file))
}
