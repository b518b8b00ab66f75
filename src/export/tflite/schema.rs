//! Numbers of TensorFlow Lite's schema (`tensorflow/compiler/mlir/lite/schema/schema.fbs`): fields of
//! tables, types, operators.

pub(super) const IDENTIFIER: [u8; 4] = *b"TFL3";
pub(super) const VERSION: u32 = 3;

pub(super) mod model {
    pub(crate) const VERSION: u16 = 0;
    pub(crate) const OPERATOR_CODES: u16 = 1;
    pub(crate) const SUBGRAPHS: u16 = 2;
    pub(crate) const DESCRIPTION: u16 = 3;
    pub(crate) const BUFFERS: u16 = 4;
    pub(crate) const METADATA: u16 = 6;
    pub(crate) const SIGNATURES: u16 = 7;
}

pub(super) mod operator_code {
    pub(crate) const DEPRECATED_CODE: u16 = 0;
    pub(crate) const VERSION: u16 = 2;
    pub(crate) const CODE: u16 = 3;
}

pub(super) mod subgraph {
    pub(crate) const TENSORS: u16 = 0;
    pub(crate) const INPUTS: u16 = 1;
    pub(crate) const OUTPUTS: u16 = 2;
    pub(crate) const OPERATORS: u16 = 3;
    pub(crate) const NAME: u16 = 4;
}

pub(super) mod tensor {
    pub(crate) const SHAPE: u16 = 0;
    pub(crate) const TYPE: u16 = 1;
    pub(crate) const BUFFER: u16 = 2;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const QUANTIZATION: u16 = 4;
}

pub(super) mod quantization {
    pub(crate) const SCALE: u16 = 2;
    pub(crate) const ZERO_POINT: u16 = 3;
    pub(crate) const DIMENSION: u16 = 6;
}

pub(super) mod operator {
    pub(crate) const CODE: u16 = 0;
    pub(crate) const INPUTS: u16 = 1;
    pub(crate) const OUTPUTS: u16 = 2;
    pub(crate) const OPTIONS_TYPE: u16 = 3;
    pub(crate) const OPTIONS: u16 = 4;
}

pub(super) mod buffer {
    pub(crate) const DATA: u16 = 0;
}

/// Also of the maps of a signature's inputs and outputs.
pub(super) mod metadata {
    pub(crate) const NAME: u16 = 0;
    pub(crate) const BUFFER: u16 = 1;
}

pub(super) mod signature {
    pub(crate) const INPUTS: u16 = 0;
    pub(crate) const OUTPUTS: u16 = 1;
    pub(crate) const KEY: u16 = 2;
    pub(crate) const SUBGRAPH: u16 = 4;
}

/// Element types of tensors.
pub(super) mod dtype {
    pub(crate) const FLOAT32: i8 = 0;
    pub(crate) const FLOAT16: i8 = 1;
    pub(crate) const INT32: i8 = 2;
    pub(crate) const UINT8: i8 = 3;
    pub(crate) const INT8: i8 = 9;
}

/// Operators.
pub(super) mod code {
    pub(crate) const ADD: i32 = 0;
    pub(crate) const AVERAGE_POOL_2D: i32 = 1;
    pub(crate) const CONCATENATION: i32 = 2;
    pub(crate) const CONV_2D: i32 = 3;
    pub(crate) const DEPTHWISE_CONV_2D: i32 = 4;
    pub(crate) const DEQUANTIZE: i32 = 6;
    pub(crate) const FULLY_CONNECTED: i32 = 9;
    pub(crate) const LOGISTIC: i32 = 14;
    pub(crate) const MAX_POOL_2D: i32 = 17;
    pub(crate) const MUL: i32 = 18;
    pub(crate) const RELU: i32 = 19;
    pub(crate) const RELU6: i32 = 21;
    pub(crate) const RESHAPE: i32 = 22;
    pub(crate) const SOFTMAX: i32 = 25;
    pub(crate) const PAD: i32 = 34;
    pub(crate) const TRANSPOSE: i32 = 39;
    pub(crate) const MEAN: i32 = 40;
    pub(crate) const SUB: i32 = 41;
    pub(crate) const PADV2: i32 = 60;
    pub(crate) const SLICE: i32 = 65;
    pub(crate) const RSQRT: i32 = 76;
    pub(crate) const QUANTIZE: i32 = 114;
    pub(crate) const HARD_SWISH: i32 = 117;
    pub(crate) const GELU: i32 = 150;
}

/// The type of an operator's options; 0 where it has none.
pub(super) fn options_type(code: i32) -> u8 {
    match code {
        code::CONV_2D => 1,
        code::DEPTHWISE_CONV_2D => 2,
        code::AVERAGE_POOL_2D | code::MAX_POOL_2D => 5,
        code::FULLY_CONNECTED => 8,
        code::SOFTMAX => 9,
        code::CONCATENATION => 10,
        code::ADD => 11,
        code::RESHAPE => 17,
        code::MUL => 21,
        code::PAD => 22,
        code::TRANSPOSE => 26,
        code::MEAN => 27,
        code::SUB => 28,
        code::DEQUANTIZE => 38,
        code::PADV2 => 43,
        code::SLICE => 48,
        code::QUANTIZE => 89,
        code::HARD_SWISH => 91,
        code::GELU => 116,
        _ => 0,
    }
}

/// Of convolutions; depthwise ones have the depth multiplier between strides and activation.
pub(super) mod convolution {
    pub(crate) const PADDING: u16 = 0;
    pub(crate) const STRIDES: [u16; 2] = [1, 2];
    pub(crate) const ACTIVATION: u16 = 3;
    pub(crate) const DILATIONS: [u16; 2] = [4, 5];
}

pub(super) mod depthwise {
    pub(crate) const MULTIPLIER: u16 = 3;
    pub(crate) const ACTIVATION: u16 = 4;
    pub(crate) const DILATIONS: [u16; 2] = [5, 6];
}

pub(super) mod pool {
    pub(crate) const PADDING: u16 = 0;
    pub(crate) const STRIDES: [u16; 2] = [1, 2];
    pub(crate) const WINDOW: [u16; 2] = [3, 4];
    pub(crate) const ACTIVATION: u16 = 5;
}

pub(super) mod padding {
    pub(crate) const SAME: i8 = 0;
    pub(crate) const VALID: i8 = 1;
}

/// Activations within operators.
pub(super) mod activation {
    pub(crate) const NONE: i8 = 0;
    pub(crate) const RELU: i8 = 1;
    pub(crate) const RELU6: i8 = 3;
}
