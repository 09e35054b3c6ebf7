//! Convolutions with stride and padding below and to the right only, as the encoder of a VAE needs them: the fast
//! and the plain form against a convolution written out in float64.

use candle_core::{DType, Device, Tensor};
use prompt_to_prompt::kernels::{Conv, ConvWeight, Packing, Padding, conv2d, plain};
use proptest::prelude::*;

use crate::common::{numbers, relative};
use crate::parity::flat;

fn tensor(shape: &[usize], seed: u64) -> Tensor {
    let len = shape.iter().product();
    Tensor::from_vec(numbers(seed, len), shape, &Device::Cpu).unwrap()
}

/// `x` `[h, w, c_in]` and `weight` `[c_out, c_in, 3, 3]`, with zeros `before` and `after` along each side.
fn written_out(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    (before, after): (usize, usize),
) -> (Vec<f32>, [usize; 3]) {
    let (h, w, c_in) = x.dims3().unwrap();
    let c_out = weight.dims()[0];
    let (x, weight) = (flat(x), flat(weight));
    let at = |y: usize, column: usize, c: usize| {
        let inside = |v: usize, side: usize| (before..side + before).contains(&v);
        if !inside(y, h) || !inside(column, w) {
            return 0.0;
        }
        f64::from(x[((y - before) * w + column - before) * c_in + c])
    };
    let side = |n: usize| (n + before + after - 3) / stride + 1;
    let (out_h, out_w) = (side(h), side(w));
    let mut out = vec![];
    for y in 0..out_h {
        for column in 0..out_w {
            for o in 0..c_out {
                let mut sum = 0.0;
                for c in 0..c_in {
                    for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
                        let factor = f64::from(weight[((o * c_in + c) * 3 + dy) * 3 + dx]);
                        sum += factor * at(y * stride + dy, column * stride + dx, c);
                    }
                }
                out.push(sum as f32);
            }
        }
    }
    (out, [out_h, out_w, c_out])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn padding_is_where_it_is_asked_for(h in 2usize..12, w in 2usize..12, c_in in 1usize..18, c_out in 1usize..20,
        two: bool, bottom_right: bool, seed: u64) {
        let stride = if two { 2 } else { 1 };
        let (padding, around) = if bottom_right {
            (Padding::BottomRight, (0, 1))
        } else {
            (Padding::Symmetric, (1, 1))
        };
        let weight = tensor(&[c_out, c_in, 3, 3], seed);
        let x = tensor(&[2, h, w, c_in], seed ^ 1);
        let options = Conv { stride, padding, ..Conv::default() };
        let layer = ConvWeight::from_conv(&weight, None, 0, Packing::default()).unwrap();
        let fast = conv2d(&x, &layer, options).unwrap();
        let slow = plain::conv2d(&x, &layer, options).unwrap();
        let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        let wide_layer = ConvWeight::from_conv(&wide(&weight), None, 0, Packing::default()).unwrap();
        let wide = plain::conv2d(&wide(&x), &wide_layer, options).unwrap();
        for row in 0..2 {
            let (wanted, shape) = written_out(&x.get(row).unwrap(), &weight, stride, around);
            for (form, got) in [("fast", &fast), ("plain", &slow), ("f64", &wide)] {
                let got = got.get(row).unwrap().to_dtype(DType::F32).unwrap();
                prop_assert_eq!(got.dims(), &shape);
                let far = relative(&flat(&got), &wanted);
                prop_assert!(far < 1e-6, "{form} is off by {far:.1e}");
            }
        }
    }
}

/// A layer that is packed for Winograd computes other options in its plain form.
#[test]
fn a_layer_packed_for_winograd_pads_below_and_right() {
    let (weight, x) = (tensor(&[32, 16, 3, 3], 1), tensor(&[1, 9, 14, 16], 2));
    let layer = ConvWeight::from_conv(&weight, None, 1024, Packing::default()).unwrap();
    for stride in [1, 2] {
        let options = Conv {
            stride,
            padding: Padding::BottomRight,
            ..Conv::default()
        };
        let got = conv2d(&x, &layer, options).unwrap();
        let (wanted, shape) = written_out(&x.get(0).unwrap(), &weight, stride, (0, 1));
        assert_eq!(got.dims()[1..], shape);
        let far = relative(&flat(&got), &wanted);
        assert!(far < 1e-5, "stride {stride}: off by {far:.1e}");
    }
}

#[test]
fn a_picture_smaller_than_its_kernel_is_refused() {
    let layer = ConvWeight::from_conv(&tensor(&[1, 1, 3, 3], 1), None, 0, Packing::default());
    let options = Conv {
        stride: 2,
        padding: Padding::BottomRight,
        ..Conv::default()
    };
    let x = tensor(&[1, 1, 5, 1], 2);
    assert!(conv2d(&x, &layer.unwrap(), options).is_err());
}
