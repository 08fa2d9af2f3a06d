// Opens graphs on the CPU.
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.io.File

/**
 * 8-bit products are added exactly where the CPU lacks VNNI, and no input is rounded to 8 bits that
 * the graph does not round.
 */
fun openOnCpu(env: OrtEnvironment, file: File): OrtSession =
    OrtSession.SessionOptions().use { options ->
        options.addConfigEntry("session.x64quantprecision", "1")
        options.addConfigEntry("session.qdq_matmulnbits_accuracy_level", "1")
        env.createSession(file.path, options)
    }
