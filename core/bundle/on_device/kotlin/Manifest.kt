// Compares a bundle with its SHA256SUMS, before any other file of it is opened.
import java.io.File
import java.io.IOException
import java.security.MessageDigest

/** A bundle that must not be used; the message says why, and what to do. */
class BundleException(message: String) : Exception(message)

object Manifest {
    private const val SUMS = "SHA256SUMS"
    private const val HEAD = "# bundle "

    /**
     * Throws BundleException for every file that is missing or changed, by its name, and for the
     * files of another bundle than the one that this program was built with.
     */
    fun check(folder: File) {
        val lines = try {
            File(folder, SUMS).readLines()
        } catch (error: IOException) {
            throw BundleException("$folder is no whole bundle: $SUMS cannot be read; copy it again")
        }
        val listed = lines.filter { it != "" && !it.startsWith("#") }
            .map { it.substringAfter("  ", "") to it.substringBefore("  ") }
        val problems = listed.mapNotNull { (name, wanted) -> differs(folder, name, wanted) } +
            listOf("metadata.json").filter { name -> listed.none { it.first == name } }
                .map { "$SUMS does not list $it" }
        if (problems.isNotEmpty()) {
            val what = "$folder is damaged, or mixed with the files of another version:"
            throw BundleException("$what\n  ${problems.joinToString("\n  ")}\ncopy it again")
        }
        val id = lines.firstOrNull { it.startsWith(HEAD) }?.removePrefix(HEAD) ?: ""
        if (id != Bundle.ID) {
            throw BundleException(
                "$folder is another bundle (${id.take(12)}) than the one that this program was " +
                    "built with (${Bundle.ID.take(12)}): build it with the Bundle.kt of this folder"
            )
        }
    }

    /** Returns in words how a file differs from the list; null where it does not. */
    private fun differs(folder: File, name: String, wanted: String): String? {
        val home = folder.canonicalFile
        val file = File(home, name).canonicalFile // a link may lead anywhere
        if (!file.startsWith(home) || file == home || '\\' in name || ':' in name) {
            return "$SUMS names a file outside of the bundle: ${name.take(200)}"
        }
        if (!file.isFile) return "$name is missing"
        val found = try {
            sha256(file)
        } catch (error: IOException) {
            return "$name cannot be read (${error.message})"
        }
        if (found == wanted) return null
        return "$name was changed: SHA-256 ${found.take(12)}…, not ${wanted.take(12)}…"
    }

    private fun sha256(file: File): String {
        val digest = MessageDigest.getInstance("SHA-256")
        val buffer = ByteArray(1 shl 20)
        file.inputStream().use { source ->
            while (true) {
                val count = source.read(buffer)
                if (count < 0) break
                digest.update(buffer, 0, count)
            }
        }
        return digest.digest().joinToString("") { "%02x".format(it) }
    }
}
