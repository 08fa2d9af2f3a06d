// The back end of a graph that ONNX Runtime plays: the CPU.
import ai.onnxruntime.OrtEnvironment
import java.io.File

/** Returns the back ends in the order in which they are tried. */
fun backends(env: OrtEnvironment, folder: File): List<Backend> =
    listOf(Backend("CPU", "model") { openOnCpu(env, File(folder, Bundle.MODEL)) })
