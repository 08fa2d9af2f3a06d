// Opens the model on the CPU.
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.io.File

fun openModel(env: OrtEnvironment, folder: File): OrtSession =
    openOnCpu(env, File(folder, Bundle.MODEL))
