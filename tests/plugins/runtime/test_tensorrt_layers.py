"""The builder's list of layers becomes facts, and shows which conversions were not fused."""

from __future__ import annotations

from plugins.runtime._tensorrt.layers import facts_of, layers_in, unfused

#: Lines of TensorRT-RTX 1.7.1.116's log for the bundled model in INT8, with fewer constants.
LOG = """\
Layers:
Name: __myl_Move_myl0_5, LayerType: kgen, Inputs: [], Constants: [], Outputs: [ { Name: a, \
Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Int32, Format: (Linear) Row major \
linear format }], TacticName: __myl_Move_0x4d, StreamId: 0, Metadata:
Name: __myl_MulAddDivErf_myl0_3, LayerType: kgen, Inputs: [ { Name: b, Dimensions: [1,16], \
Strides: [16,1], StrideOrder: [1,0], Datatype: Float, Format: (Linear) Row major linear format }\
], Constants: [], Outputs: [ { Name: c, Dimensions: [1,16], Strides: [16,1], StrideOrder: [1,0], \
Datatype: Int8, Format: (NHWC) Channel major format }], TacticName: t, StreamId: 0, Metadata: \
[ONNX Layer: /gelu]\x1f[ONNX Layer: /quantise]
Name: /conv_myl0_2, LayerType: correlation, Inputs: [ { Name: c, Dimensions: [1,16], Strides: \
[16,1], StrideOrder: [1,0], Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ \
{ Name: w, Dimensions: [16,4], Strides: [4,1], StrideOrder: [1,0], Datatype: Float, Format: \
(Linear) Row major linear format }], Outputs: [ { Name: d, Dimensions: [1,16], Strides: [16,1], \
StrideOrder: [1,0], Datatype: Float, Format: (NHWC) Channel major format }], TacticName: t, \
StreamId: 0, Metadata: [ONNX Layer: /conv]\x1f[ONNX Layer: x_DequantizeLinear]
Name: /conv_tr_myl0_9, LayerType: deconv, Inputs: [ { Name: e, Dimensions: [1,16], Strides: \
[16,1], StrideOrder: [1,0], Datatype: Half, Format: (NHWC) Channel major format }], Constants: \
[ { Name: s, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) \
Row major linear format }], Outputs: [ { Name: f, Dimensions: [1,16], Strides: [16,1], \
StrideOrder: [1,0], Datatype: Half, Format: (Linear) Row major linear format }], TacticName: t, \
StreamId: 0, Metadata: [ONNX Layer: /conv[1], odd]\x1f[ONNX Layer: /conv_tr]

I/O Tensors:
 Name: mix, IOMode: Input, DataType: Float, Dimensions: [1,2,88200], Location: Device
"""


def test_a_layer_has_the_lowest_precision_that_it_reads() -> None:
    """Scales in float do not make a layer of 8 or 16 bits one of 32; outputs do not count."""
    found = [(layer.name, layer.type, layer.precision) for layer in layers_in(LOG)]
    assert found == [
        ("__myl_Move_myl0_5", "kgen", ""),
        ("__myl_MulAddDivErf_myl0_3", "kgen", "fp32"),
        ("/conv_myl0_2", "correlation", "int8"),
        ("/conv_tr_myl0_9", "deconv", "fp16"),
    ]


def test_a_layer_names_its_nodes() -> None:
    """Names may hold brackets and commas."""
    assert [layer.nodes for layer in layers_in(LOG)] == [
        (), ("/gelu", "/quantise"), ("/conv", "x_DequantizeLinear"),
        ("/conv[1], odd", "/conv_tr"),
    ]  # fmt: skip


def test_facts_count_layers_and_formats() -> None:
    """The counts are those of the report."""
    assert facts_of(layers_in(LOG)) == {
        "layers": 4,
        "fused_layers": 3,
        "layers_by_precision": [
            {"type": "kgen", "precision": "none", "layers": 1},
            {"type": "kgen", "precision": "fp32", "layers": 1},
            {"type": "correlation", "precision": "int8", "layers": 1},
            {"type": "deconv", "precision": "fp16", "layers": 1},
        ],
        "tensor_formats": {"Linear": 2, "NHWC": 2},
    }


def test_a_product_in_float_is_named_with_its_conversion() -> None:
    """The convolution is fused, the transposed one is not, and one is in no layer."""
    products = [
        ("/conv", "Conv", "x_DequantizeLinear"),
        ("/conv_tr", "ConvTranspose", "e_DequantizeLinear"),
        ("/gone", "Gemm", "g_DequantizeLinear"),
    ]
    rows, count = unfused(layers_in(LOG), products)
    assert count == 2
    assert rows == [
        {
            "node": "/conv_tr", "operator": "ConvTranspose", "pair": "e_DequantizeLinear",
            "layer": "/conv_tr_myl0_9", "reads": "fp16",
        },
        {
            "node": "/gone", "operator": "Gemm", "pair": "g_DequantizeLinear",
            "layer": "in no layer that the library names", "reads": "",
        },
    ]  # fmt: skip


def test_the_rows_are_bounded_and_the_count_is_not() -> None:
    """A report of hundreds of rows would help nobody."""
    rows, count = unfused([], [(f"n{i}", "Conv", "d") for i in range(70)])
    assert (len(rows), count) == (50, 70)
