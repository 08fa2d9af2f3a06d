"""What an Android app must link and declare to run a context binary on the NPU."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["lines"]

_GRADLE = """\
// A context binary needs a QNN of the version that compiled it, or a newer one.
implementation("com.microsoft.onnxruntime:onnxruntime-android:{onnxruntime}")   // or newer
implementation("com.qualcomm.qti:onnxruntime-android-qnn:{qnn}")         // or newer
implementation("com.qualcomm.qti:qnn-runtime:+")                          // the QNN that goes with it
// android {{ packaging {{ jniLibs.useLegacyPackaging = true }} }}: the NPU loads libraries from files
"""
_MANIFEST = """\
<!-- inside <application>: without it the NPU is not found, and the CPU computes -->
<uses-native-library android:name="libcdsprpc.so" android:required="false" />
"""


def lines() -> dict[str, str]:
    """Return lines for `build.gradle.kts` and for the manifest, with the versions used here."""
    gradle = _GRADLE.format(onnxruntime=version("onnxruntime"), qnn=version("onnxruntime-qnn"))
    return {"gradle": gradle, "xml": _MANIFEST}
