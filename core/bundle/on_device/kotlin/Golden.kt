// The golden window: one window with its results, by which a back end is tested.
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The group of values with the lowest SNR, that SNR, and the least that it must be, in dB. */
class Verdict(val label: String, val db: Double, val least: Double) {
    val holds: Boolean get() = db >= least
}

/** Reads golden.bin of [folder]; throws BundleException where it is too short. */
class Golden(folder: File) {
    private val blob: ByteBuffer =
        ByteBuffer.wrap(if (none) ByteArray(0) else File(folder, "golden.bin").readBytes())
            .order(ByteOrder.LITTLE_ENDIAN)
    private val input: FloatArray = numbers(Bundle.GOLDEN_OFFSET, Bundle.GOLDEN_COUNT)

    /** Returns [count] values of the window's input, which is repeated as often as it takes. */
    fun cycled(count: Int): FloatArray = FloatArray(count) { input[it % input.size] }

    /** Returns the worst group of a stage; [tensor] maps a name to the numbers of a tensor. */
    fun worst(artifact: String, stage: String, tensor: (String) -> FloatArray): Verdict {
        val least = Bundle.TOLERANCES.firstOrNull { it.artifact == artifact && it.stage == stage }
        val found = Bundle.GOLDEN.filter { it.stage == stage }
            .map { (if (it.label == "") it.tensor else it.label) to decibels(it, tensor(it.tensor)) }
            .minByOrNull { it.second }
        return Verdict(found?.first ?: "", found?.second ?: 200.0, least?.db ?: 0.0)
    }

    private fun decibels(group: Bundle.Group, tensor: FloatArray): Double {
        val expected = numbers(group.offset, group.count)
        if (group.start + group.step * (group.count - 1) >= tensor.size) return -200.0
        var noise = 0.0
        for (i in expected.indices) {
            val error = tensor[(group.start + group.step * i).toInt()].toDouble() - expected[i]
            noise += error * error
        }
        if (noise == 0.0) return 200.0
        if (noise.isNaN() || noise.isInfinite() || group.power <= 0) return -200.0
        return (10 * Math.log10(group.power / noise)).coerceIn(-200.0, 200.0)
    }

    private fun numbers(offset: Long, count: Long): FloatArray {
        if (offset + 4 * count > blob.capacity()) {
            throw BundleException("golden.bin is too short; copy the bundle again")
        }
        return FloatArray(count.toInt()) { blob.getFloat((offset + 4 * it).toInt()) }
    }

    companion object {
        /** Whether the bundle has no golden window. */
        val none: Boolean get() = Bundle.GOLDEN.isEmpty()
    }
}
