// The back ends of a model for a Snapdragon: its NPU, its GPU, and the CPU.
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import java.io.File

private const val QNN = "QNNExecutionProvider"

/** Returns the back ends in the order in which they are tried. */
fun backends(env: OrtEnvironment, folder: File): List<Backend> = listOf(
    Backend("NPU", "model") { onSnapdragon(env, File(folder, Bundle.MODEL), "htp") },
    Backend("GPU", "fallback") { onSnapdragon(env, File(folder, Bundle.FALLBACK), "gpu") },
    Backend("CPU", "fallback") { openOnCpu(env, File(folder, Bundle.FALLBACK)) }
)

/**
 * Opens a model on a back end of QNN, whole. Throws OrtException on another processor (which would
 * emulate the NPU), and where there is no library of Qualcomm's execution provider.
 */
private fun onSnapdragon(env: OrtEnvironment, model: File, backend: String): OrtSession {
    val machine = System.getProperty("os.arch") ?: ""
    if (machine !in setOf("aarch64", "arm64")) {
        throw OrtException("this processor ($machine) is no Snapdragon")
    }
    if (env.epDevices.none { it.epName == QNN }) {
        env.registerExecutionProviderLibrary(QNN, "libonnxruntime_providers_qnn.so")
    }
    val devices = env.epDevices.filter { it.epName == QNN }
    if (devices.isEmpty()) throw OrtException("the library of $QNN finds no device")
    OrtSession.SessionOptions().use { options ->
        // A graph that the GPU cannot take whole must not be computed by the CPU in its name.
        options.addConfigEntry("session.disable_cpu_ep_fallback", "1")
        options.addExecutionProvider(devices, mapOf("backend_type" to backend))
        return env.createSession(model.path, options)
    }
}
