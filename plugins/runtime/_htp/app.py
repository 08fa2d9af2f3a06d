"""What an Android app must link and declare to run a context binary on the NPU."""

from __future__ import annotations

import importlib
from importlib.metadata import version

from core import LinkedLibrary

__all__ = ["libraries", "lines", "qnn_version"]

_GRADLE = """\
dependencies {{
    implementation("com.microsoft.onnxruntime:onnxruntime-android:{onnxruntime}")
    // QNN {qnn} or newer, which compiled the context binary: an older one does not load it.
    implementation("com.qualcomm.qti:onnxruntime-android-qnn:{plugin}")
    implementation("com.qualcomm.qti:qnn-runtime:{qnn}")
}}
// The NPU loads its libraries from files, so they must not stay in the APK.
android {{ packaging {{ jniLibs.useLegacyPackaging = true }} }}
"""
_MANIFEST = """\
<!-- Inside <application>: without it the NPU is not found, and the CPU computes. -->
<uses-native-library android:name="libcdsprpc.so" android:required="false" />
"""


def qnn_version() -> str:
    """Return the version of Qualcomm's QNN that compiles here; empty where it does not say."""
    about = importlib.import_module("onnxruntime_qnn.build_and_package_info")
    return str(getattr(about, "qnn_version", ""))


def lines() -> dict[str, str]:
    """Return lines for `build.gradle.kts` and for the manifest, with the versions used here."""
    gradle = _GRADLE.format(
        onnxruntime=version("onnxruntime"),
        plugin=version("onnxruntime-qnn"),
        qnn=qnn_version() or "+",
    )
    return {"kotlin": gradle, "xml": _MANIFEST}


def libraries() -> tuple[LinkedLibrary, ...]:
    """Return the libraries for Android, whose packages are not installed where this runs."""
    where = "its package for Android was not installed where the bundle was made"
    every = (
        ("com.microsoft.onnxruntime:onnxruntime-android", version("onnxruntime"), "runs graphs"),
        (
            "com.qualcomm.qti:onnxruntime-android-qnn",
            version("onnxruntime-qnn"),
            "lets ONNX Runtime use the NPU",
        ),
        ("com.qualcomm.qti:qnn-runtime", qnn_version() or "+", "holds the NPU's own libraries"),
    )
    return tuple(LinkedLibrary(name, number, why, where=where) for name, number, why in every)
