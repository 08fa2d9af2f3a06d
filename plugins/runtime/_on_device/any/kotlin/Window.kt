// Runs one window: into the model's inputs, through the model, and back. Needs ONNX Runtime.
//
// When a bundle is opened, every back end plays the golden window before it may play anything else.
// One whose result is wrong is not used.
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import java.io.File
import java.nio.FloatBuffer

/** A device that may play an artifact of the bundle (`model` or `fallback`). */
class Backend(val name: String, val artifact: String, val open: () -> OrtSession)

/**
 * Opens the models of the bundle in [folder], on the first back end that passes the test; with
 * [every], tries the remaining ones, too. [log] gets a line for each. Throws BundleException where
 * none can be used, or where a file of the bundle is missing or changed.
 */
class Window(
    folder: File,
    private val every: Boolean = false,
    private val log: (String) -> Unit = { System.err.println(it) }
) : AutoCloseable {
    private val env: OrtEnvironment
    private val golden: Golden
    private val before: OrtSession?
    private val after: OrtSession?
    private val model: OrtSession

    /** The name of the back end that plays. */
    val used: String

    init {
        Manifest.check(folder)
        env = OrtEnvironment.getEnvironment().apply { setTelemetry(false) }
        golden = Golden(folder)
        before = host(folder, Bundle.FORWARD)
        after = host(folder, Bundle.INVERSE)
        if (!Golden.none && before != null && after != null) checkDsp(before, after)
        var chosen: Pair<OrtSession, String>? = null
        val whys = ArrayList<String>()
        for (backend in backends(env, folder)) {
            if (chosen != null && !every) break
            try {
                val (session, said) = tried(backend)
                log("${backend.name}: $said")
                if (chosen == null) chosen = session to backend.name else session.close()
            } catch (error: Exception) {
                log("${backend.name}: not used: ${error.message}")
                whys.add("${backend.name}: ${error.message}")
            }
        }
        if (chosen == null) {
            throw BundleException("no back end can be used:\n  ${whys.joinToString("\n  ")}")
        }
        model = chosen.first
        used = chosen.second
    }

    /** Maps numbers in the order of INPUT_SHAPE to numbers in the order of OUTPUT_SHAPE. */
    fun run(window: FloatArray): FloatArray = Values(window).use { values ->
        listOfNotNull(before, model, after).forEach { values.step(it) }
        values.numbers(Bundle.OUTPUT)
    }

    override fun close() = listOfNotNull(before, model, after).forEach { it.close() }

    /** The tensors of one window by name; they are closed together. */
    private inner class Values(window: FloatArray) : AutoCloseable {
        private val made = ArrayList<AutoCloseable>()
        private val tensors = HashMap<String, OnnxTensor>()

        init {
            give(Bundle.INPUT, window, Bundle.INPUT_SHAPE)
        }

        fun has(name: String): Boolean = name in tensors

        fun give(name: String, numbers: FloatArray, shape: LongArray) {
            val tensor = OnnxTensor.createTensor(env, FloatBuffer.wrap(numbers), shape)
            made.add(tensor)
            tensors[name] = tensor
        }

        /** Reads a model's inputs by name, and adds its outputs. */
        fun step(session: OrtSession) {
            val result = session.run(tensors.filterKeys { it in session.inputNames })
            made.add(result)
            for ((name, value) in result) tensors[name] = value as OnnxTensor
        }

        fun numbers(name: String): FloatArray {
            val buffer = tensors.getValue(name).floatBuffer
                ?: throw BundleException("$name is no tensor of floats")
            return FloatArray(buffer.remaining()).also { buffer.get(it) }
        }

        override fun close() = made.asReversed().forEach { it.close() }
    }

    /** Opens a graph of the dsp on the CPU; null without a name. */
    private fun host(folder: File, file: String): OrtSession? =
        try {
            if (file == "") null else openOnCpu(env, File(folder, file))
        } catch (error: OrtException) {
            throw BundleException("$file cannot be opened: ${error.message}")
        }

    private fun goldenInput(): FloatArray = golden.cycled(count(Bundle.INPUT_SHAPE))

    private fun count(shape: LongArray): Int = shape.fold(1L) { a, b -> a * b }.toInt()

    /** Throws BundleException for a graph of the dsp that computes something else. */
    private fun checkDsp(first: OrtSession, last: OrtSession) = Values(goldenInput()).use { values ->
        values.step(first)
        need(golden.worst("dsp", "forward", values::numbers), Bundle.FORWARD)
        for ((name, info) in last.inputInfo) {
            if (values.has(name)) continue
            val shape = (info.info as TensorInfo).shape
            values.give(name, golden.cycled(count(shape)), shape)
        }
        values.step(last)
        need(golden.worst("dsp", "inverse", values::numbers), Bundle.INVERSE)
    }

    private fun need(found: Verdict, file: String) {
        if (found.holds) return
        throw BundleException(
            "$file computes something else: ${found.label} has ${text(found.db)} dB on the golden " +
                "window, and ${text(found.least)} dB are needed; copy the bundle again"
        )
    }

    /** Opens a back end, and plays the golden window; throws BundleException for a wrong result. */
    private fun tried(backend: Backend): Pair<OrtSession, String> {
        var started = System.nanoTime()
        val session = backend.open()
        var times = "cold start ${since(started)}"
        if (Golden.none) return session to "opened, $times; not tested: no golden window"
        try {
            for (turn in if (every) listOf("first", "second") else listOf("first")) {
                Values(goldenInput()).use { values ->
                    if (before != null) values.step(before)
                    started = System.nanoTime()
                    values.step(session)
                    times += ", $turn window ${since(started)}"
                    val core = verdict(backend, "model") { values.numbers(it) }
                    if (after != null) values.step(after)
                    val whole = verdict(backend, "outputs") { values.numbers(Bundle.OUTPUT) }
                    if (turn == "second" || !every) return session to "passes: $core, $whole, $times"
                }
            }
            throw IllegalStateException("no window was played")
        } catch (error: Exception) {
            session.close()
            throw error
        }
    }

    private fun verdict(backend: Backend, stage: String, tensor: (String) -> FloatArray): String {
        val found = golden.worst(backend.artifact, stage, tensor)
        if (found.holds) return "$stage ${text(found.db)} dB of ${text(found.least)}"
        throw BundleException(
            "its result is wrong: ${found.label} has ${text(found.db)} dB on the golden window, " +
                "and ${text(found.least)} dB are needed"
        )
    }

    private fun text(db: Double): String = "%.1f".format(java.util.Locale.ROOT, db)

    private fun since(started: Long): String = "${(System.nanoTime() - started) / 1_000_000} ms"
}
