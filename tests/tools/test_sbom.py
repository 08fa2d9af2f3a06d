"""The bill of materials is CycloneDX, has the lock's hashes, and needs no network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools import sbom
from tools.locked import locked, normal

pytest.importorskip("cyclonedx")


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """Return the bill of the environment that the tests run in."""
    return sbom.bill()


@pytest.mark.usefixtures("unconnected_processes")
def test_a_bill_has_the_hashes_of_the_lock(bill: dict[str, Any]) -> None:
    """A bill has the lock's hashes, licences of over 90 % of packages, and always equal text."""
    assert json.dumps(sbom.bill()) == json.dumps(bill)
    assert bill["metadata"]["component"]["name"] == "luthier"
    components = {normal(c["name"]): c for c in bill["components"]}
    pinned = {
        name: package
        for name, package in locked().items()
        if package.sha256 and name in components and components[name]["version"] == package.version
    }
    assert {"numpy", "onnx", "lameenc"} <= set(pinned)
    for name, package in pinned.items():
        (files,) = (
            r
            for r in components[name]["externalReferences"]
            if r["type"] == "distribution" and "hashes" in r
        )
        assert {each["content"] for each in files["hashes"]} == set(package.sha256)
    assert sum("licenses" in c for c in components.values()) > 0.9 * len(components)


def test_a_bill_is_valid(bill: dict[str, Any]) -> None:
    """A bill of a few components is valid by CycloneDX's schema, which finds a wrong component."""
    few = {**bill, "components": bill["components"][:3], "dependencies": []}
    assert sbom.fault(json.dumps(few)) == ""
    few["components"] = [{"type": "no such type", "name": "x"}]
    assert "no such type" in sbom.fault(json.dumps(few))
