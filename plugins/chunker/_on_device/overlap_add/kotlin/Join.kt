// Cuts an input into overlapping windows and fades from each result to the next.

private fun rescaled(position: Long, scaled: Long): Int =
    ((2 * position * scaled + Bundle.LENGTH) / (2 * Bundle.LENGTH)).toInt()

private fun rowsOf(shape: LongArray): Int = shape.dropLast(1).fold(1L) { a, b -> a * b }.toInt()

/** The weight of every sample of a window, 1 in the middle. */
private fun triangle(length: Int): FloatArray {
    val half = length / 2
    return FloatArray(length) { i ->
        val line = (if (i < half) i + 1 else length - i).toDouble() / (length - half)
        Math.max(Math.pow(line, Bundle.POWER), 1e-30).toFloat()
    }
}

/**
 * Plays a whole [input]: the rows of INPUT_SHAPE one after the other, of any length. The result
 * holds the rows of OUTPUT_SHAPE in the same way.
 */
fun play(window: Window, input: FloatArray): FloatArray {
    val length = Bundle.LENGTH.toInt()
    val scaled = Bundle.OUTPUT_SHAPE.last().toInt()
    val rows = rowsOf(Bundle.INPUT_SHAPE)
    val results = rowsOf(Bundle.OUTPUT_SHAPE)
    val total = input.size / rows
    fun onOutput(position: Int): Int = rescaled(position.toLong(), scaled.toLong())
    val size = onOutput(total)
    val weight = triangle(scaled)
    val sums = FloatArray(results * size)
    val weights = FloatArray(size)
    for (start in 0 until total step Bundle.STRIDE.toInt()) {
        val stop = Math.min(start + length, total)
        val before = (length - (stop - start)) / 2
        val from = Math.max(0, start - before)
        val to = Math.min(total, start - before + length)
        val piece = FloatArray(rows * length)
        for (row in 0 until rows) {
            val target = row * length + from - (start - before)
            System.arraycopy(input, row * total + from, piece, target, to - from)
        }
        val output = window.run(piece)
        val first = onOutput(start)
        val count = onOutput(stop) - first
        val skip = onOutput(before)
        for (i in 0 until count) {
            for (row in 0 until results) {
                sums[row * size + first + i] += weight[i] * output[row * scaled + skip + i]
            }
            weights[first + i] += weight[i]
        }
    }
    for (row in 0 until results) for (i in 0 until size) sums[row * size + i] /= weights[i]
    return sums
}
