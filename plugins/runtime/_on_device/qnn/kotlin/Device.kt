// Opens the context binary on the NPU of a Snapdragon, or the same graph on the CPU.
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import java.io.File

private const val QNN = "QNNExecutionProvider"

fun openModel(env: OrtEnvironment, folder: File): OrtSession =
    try {
        onNpu(env, File(folder, Bundle.MODEL))
    } catch (error: OrtException) {
        System.err.println("no NPU, so the CPU computes: ${error.message}")
        openOnCpu(env, File(folder, Bundle.FALLBACK))
    }

/** Throws OrtException where there is no NPU, or no library of Qualcomm's execution provider. */
private fun onNpu(env: OrtEnvironment, model: File): OrtSession {
    if (env.epDevices.none { it.epName == QNN }) {
        env.registerExecutionProviderLibrary(QNN, "libonnxruntime_providers_qnn.so")
    }
    val npus = env.epDevices.filter { it.epName == QNN }
    if (npus.isEmpty()) throw OrtException("the library of $QNN finds no device")
    OrtSession.SessionOptions().use { options ->
        options.addExecutionProvider(npus, mapOf("backend_type" to "htp"))
        return env.createSession(model.path, options)
    }
}
