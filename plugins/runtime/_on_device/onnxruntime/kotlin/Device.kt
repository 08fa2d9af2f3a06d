// Opens the model on the CPU.
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.io.File

fun openModel(env: OrtEnvironment, folder: File): OrtSession =
    env.createSession(File(folder, Bundle.MODEL).path)
