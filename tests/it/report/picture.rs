//! Tensors become pixels: range, order, rounding.

use candle_core::{Device, Tensor};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::report::picture::{Rounding, to_rgb};

fn tensor(values: &[f32], (height, width): (usize, usize)) -> Tensor {
    Tensor::from_slice(values, (3, height, width), &Device::Cpu).unwrap()
}

#[test]
fn channels_come_first_and_out_of_range_is_clamped() {
    let image = tensor(&[-1.0, 1.0, -9.0, 9.0, 0.0, 1.0], (1, 2));
    let picture = to_rgb(&image, Rounding::Nearest).unwrap();
    assert_eq!(picture.dimensions(), (2, 1));
    assert_eq!(picture.get_pixel(0, 0).0, [0, 0, 128]); // 127.5, to even
    assert_eq!(picture.get_pixel(1, 0).0, [255, 255, 255]);
}

#[test]
fn truncation_is_the_references_conversion() {
    let values = [100.7f32, 100.2, 254.9].map(|byte| byte / 255.0 * 2.0 - 1.0);
    let image = tensor(&values, (1, 1));
    let pixel = |rounding| to_rgb(&image, rounding).unwrap().get_pixel(0, 0).0;
    assert_eq!(pixel(Rounding::Nearest), [101, 100, 255]);
    assert_eq!(pixel(Rounding::Truncate), [100, 100, 254]);
}

#[test]
fn numbers_that_are_none_are_an_error() {
    for bad in [f32::NAN, f32::INFINITY] {
        let error = to_rgb(&tensor(&[0.0, bad, 0.0], (1, 1)), Rounding::Nearest).unwrap_err();
        assert!(matches!(error, Error::Run(_)), "{error}");
    }
    let grey = Tensor::zeros((1, 2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(to_rgb(&grey, Rounding::Nearest).is_err());
}
