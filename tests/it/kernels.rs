//! Compares each fast kernel with its plain candle form over odd shapes, and checks that the bits of a row do not
//! depend on other rows or on threads.

use candle_core::{DType, Device, Tensor, Var};
use prompt_to_prompt::attention::{Carry, SitePlan, Term, attend};
use prompt_to_prompt::kernels::*;
use proptest::prelude::*;

/// Seeded random numbers between -2 and 2.
pub fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 40) as f32 / (1u32 << 22) as f32) - 2.0
    };
    let data: Vec<f32> = (0..shape.iter().product::<usize>()).map(next).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

/// The bits of each float of a tensor.
pub fn bits(x: &Tensor) -> Vec<u32> {
    let floats: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
    floats.into_iter().map(f32::to_bits).collect()
}

/// The norm of the difference of two tensors, relative to the norm of `b`.
pub fn distance(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let norm = |x: &Tensor| {
        let squares = x.to_dtype(DType::F64).unwrap().sqr().unwrap();
        squares
            .sum_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap()
            .sqrt()
    };
    (norm(&(a - b).unwrap()) / norm(b).max(1e-12)) as f32
}

/// The same tensor, tracked for gradients, so that an operation takes its plain form.
fn tracked(x: &Tensor) -> Tensor {
    Var::from_tensor(x).unwrap().as_tensor().clone()
}

/// Runs `f` in a pool of its own.
fn in_pool<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(f)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn linear_is_a_matrix_product(rows in 1usize..4, n in 1usize..90, k in 1usize..70, out in 1usize..140, seed: u64) {
        let bias = numbers(&[out], seed ^ 1);
        let layer = ConvWeight::from_linear(&numbers(&[out, k], seed), Some(bias)).unwrap();
        let x = numbers(&[rows, n, k], seed ^ 2);
        let residual = numbers(&[rows, n, out], seed ^ 3);
        for residual in [None, Some(&residual)] {
            let y = linear(&x, &layer, residual).unwrap();
            prop_assert!(distance(&y, &plain::linear(&x, &layer, residual).unwrap()) < 1e-6);
        }
        prop_assert!(distance(&matmul(&x.get(0).unwrap(), &layer.matrix().unwrap()).unwrap(), &x.get(0).unwrap().matmul(&layer.matrix().unwrap()).unwrap()) < 1e-6);
    }

    #[test]
    fn gated_linear_is_linear_then_gated(rows in 1usize..4, n in 1usize..200, k in 1usize..70, sixteens in 1usize..9, odd: bool, seed: u64) {
        let f = 16 * sixteens + usize::from(odd);
        let (weight, bias) = (numbers(&[2 * f, k], seed), numbers(&[2 * f], seed ^ 1));
        let layer = ConvWeight::from_geglu(&weight, bias.clone()).unwrap();
        let separate = ConvWeight::from_linear(&weight, Some(bias)).unwrap();
        prop_assert_eq!(bits(&layer.matrix().unwrap()), bits(&separate.matrix().unwrap()));
        let x = numbers(&[rows, n, k], seed ^ 2);
        let y = geglu_linear(&x, &layer).unwrap();
        let plain = plain::geglu(&plain::linear(&x, &separate, None).unwrap()).unwrap();
        prop_assert!(distance(&y, &plain) < 1e-6);
    }

    #[test]
    fn winograd_is_a_convolution(rows in 1usize..3, h in 1usize..30, w in 1usize..30, cin in 1usize..5, cout in 1usize..5,
        larger: bool, on_demand: bool, each: bool, up in 0usize..3, seed: u64) {
        let (cin, cout) = (16 * cin, 16 * cout);
        let kernel = numbers(&[cout, cin, 3, 3], seed);
        let packing = Packing { large_tiles: larger, on_demand };
        let layer = ConvWeight::from_conv(&kernel, Some(numbers(&[cout], seed ^ 1)), 1024, packing).unwrap();
        let direct = ConvWeight::from_conv(&kernel, layer.bias.clone(), 0, Packing::default()).unwrap();
        prop_assert!(distance(&layer.matrix().unwrap(), &direct.matrix().unwrap()) < 1e-6);
        let x = numbers(&[rows, h, w, cin], seed ^ 2);
        let size = (h * up + h / 2 + 1, w * up + w / 3 + 1);
        let upsample = (up > 0).then_some(size);
        let (out_h, out_w) = upsample.unwrap_or((h, w));
        let shift = numbers(&[if each { rows } else { 1 }, 1, cout], seed ^ 3);
        let residual = numbers(&[rows, out_h, out_w, cout], seed ^ 4);
        let how = Conv { upsample, shift: Some(&shift), residual: Some(&residual), ..Conv::default() };
        let y = conv2d(&x, &layer, how).unwrap();
        let plain = plain::conv2d(&x, &direct, how).unwrap();
        let bound = if larger { 1e-5 } else { 2e-6 };
        prop_assert!(distance(&y, &plain) < bound, "{}", distance(&y, &plain));
    }

    #[test]
    fn channels_are_joined(rows in 1usize..3, n in 1usize..600, c in 1usize..20, d in 1usize..20, seed: u64) {
        let (a, b) = (numbers(&[rows, n, c], seed), numbers(&[rows, n, d], seed ^ 1));
        let plain = Tensor::cat(&[&a, &b], 2).unwrap();
        prop_assert_eq!(bits(&concat_channels(&a, &b).unwrap()), bits(&plain));
    }

    #[test]
    fn conv_is_candles(rows in 1usize..3, h in 1usize..20, w in 1usize..20, cin in 1usize..20, cout in 1usize..40,
        three: bool, two: bool, seed: u64) {
        let size = if three { 3 } else { 1 };
        let stride = if two { 2 } else { 1 };
        let kernel = numbers(&[cout, cin, size, size], seed);
        let layer = ConvWeight::from_conv(&kernel, Some(numbers(&[cout], seed ^ 1)), 0, Packing::default()).unwrap();
        let x = numbers(&[rows, h, w, cin], seed ^ 2);
        let how = Conv { stride, ..Conv::default() };
        let y = conv2d(&x, &layer, how).unwrap();
        prop_assert_eq!(y.dims(), &[rows, h.div_ceil(stride), w.div_ceil(stride), cout]);
        prop_assert!(distance(&y, &plain::conv2d(&x, &layer, how).unwrap()) < 1e-6);
    }

    #[test]
    fn norms_are_candles(rows in 1usize..4, n in 1usize..2000, groups in 1usize..6, width in 1usize..7, seed: u64) {
        let c = groups * width;
        // The mean is far from zero, where a naive sum of squares loses bits through cancellation.
        let x = (numbers(&[rows, n, c], seed) + 30.0).unwrap();
        let (weight, bias) = (numbers(&[c], seed ^ 1), numbers(&[c], seed ^ 2));
        for silu in [false, true] {
            let fast = group_norm(&x, groups, &weight, &bias, 1e-5, silu).unwrap();
            let plain = group_norm(&tracked(&x), groups, &weight, &bias, 1e-5, silu).unwrap();
            prop_assert!(distance(&fast, &plain) < 1e-4, "{}", distance(&fast, &plain));
        }
        let fast = layer_norm(&x, &weight, &bias, 1e-5).unwrap();
        let plain = layer_norm(&tracked(&x), &weight, &bias, 1e-5).unwrap();
        prop_assert!(distance(&fast, &plain) < 1e-4, "{}", distance(&fast, &plain));
    }

    #[test]
    fn activations_are_candles(n in 1usize..3000, f in 1usize..40, seed: u64) {
        let x = (numbers(&[n], seed) * 4.0).unwrap();
        for f in [silu, quick_gelu] {
            prop_assert!(distance(&f(&x).unwrap(), &f(&tracked(&x)).unwrap()) < 1e-6);
        }
        let x = numbers(&[n.div_ceil(30), 2 * f], seed);
        prop_assert!(distance(&geglu(&x).unwrap(), &geglu(&tracked(&x)).unwrap()) < 1e-6);
    }
}

/// Asserts that each row of the batch has the same bits as when it is computed alone, on one thread and on two.
fn obeys_the_law(x: &Tensor, f: impl Fn(&Tensor) -> Tensor + Sync) {
    let together = in_pool(1, || f(x));
    assert_eq!(bits(&together), bits(&in_pool(2, || f(x))), "threads");
    for row in 0..x.dim(0).unwrap() {
        let alone = in_pool(2, || f(&x.narrow(0, row, 1).unwrap()));
        assert_eq!(
            bits(&alone),
            bits(&together.narrow(0, row, 1).unwrap()),
            "row {row}"
        );
    }
}

#[test]
fn an_output_row_depends_neither_on_other_rows_nor_on_threads() {
    for (n, k, out) in [
        (1, 77, 60),
        (9, 300, 500),
        (100, 64, 256),
        (600, 320, 33),
        (64, 640, 640),
    ] {
        let weight = numbers(&[out, k], 1);
        let layer = ConvWeight::from_linear(&weight, Some(numbers(&[out], 2))).unwrap();
        obeys_the_law(&numbers(&[3, n, k], 3), |x| {
            linear(x, &layer, None).unwrap()
        });
    }
    for (side, cin, cout, stride, pixels) in [
        (5, 7, 9, 1, 0),
        (8, 200, 160, 1, 0),
        (33, 24, 40, 2, 0),
        (16, 48, 96, 1, 256),
        (33, 32, 160, 1, 1024),
    ] {
        let kernel = numbers(&[cout, cin, 3, 3], 4);
        let layer = ConvWeight::from_conv(
            &kernel,
            Some(numbers(&[cout], 5)),
            pixels,
            Packing {
                large_tiles: true,
                on_demand: false,
            },
        )
        .unwrap();
        let how = Conv {
            stride,
            ..Conv::default()
        };
        obeys_the_law(&numbers(&[3, side, side, cin], 6), |x| {
            conv2d(x, &layer, how).unwrap()
        });
    }
    let (weight, bias) = (numbers(&[24], 7), numbers(&[24], 8));
    obeys_the_law(&numbers(&[3, 700, 24], 9), |x| {
        group_norm(x, 4, &weight, &bias, 1e-5, true).unwrap()
    });
}

#[test]
fn a_tracked_tensor_keeps_its_gradient() {
    let var = Var::from_tensor(&numbers(&[1, 4, 4, 6], 1)).unwrap();
    let conv =
        ConvWeight::from_conv(&numbers(&[6, 6, 3, 3], 2), None, 0, Packing::default()).unwrap();
    let wide = ConvWeight::from_linear(&numbers(&[8, 6], 3), None).unwrap();
    let (weight, bias) = (numbers(&[6], 4), numbers(&[6], 5));
    let h = group_norm(&var, 2, &weight, &bias, 1e-5, true).unwrap();
    let y =
        geglu(&linear(&conv2d(&h, &conv, Conv::default()).unwrap(), &wide, None).unwrap()).unwrap();
    let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let grad = grads.get(&var).expect("the gradient was dropped");
    assert!(bits(grad).iter().any(|&b| b != 0));
}

#[test]
fn attention_is_candles_for_every_size_of_head() {
    let shapes = [
        (1, 1, 40),
        (1, 77, 64),
        (35, 35, 80),
        (13, 130, 160),
        (63, 77, 40),
        (300, 256, 8),
    ];
    for (i, (n, t, d)) in shapes.into_iter().enumerate() {
        let (heads, seed) = (3, i as u64);
        let (q, k) = (
            numbers(&[2, n, heads * d], seed),
            numbers(&[2, t, heads * d], seed + 9),
        );
        let v = numbers(&[3, t, heads * d], seed + 99);
        let term = |map_of| Term {
            map_of,
            carry: Carry::Same,
        };
        // The last row uses both maps. No row uses the map of the last row.
        let mix = [vec![term(0)], vec![term(1)], vec![term(0), term(1)]];
        let out = |q: &Tensor| attend(q, &k, &v, heads, &SitePlan::Mix(&mix), None).unwrap();
        assert!(
            distance(&out(&q), &out(&tracked(&q))) < 2e-6,
            "{n} x {t}, d {d}"
        );
    }
    for (t, d) in [(1, 40), (77, 64), (20, 16)] {
        let x = |seed| numbers(&[2, t, 3 * d], seed);
        let (q, k, v) = (x(1), x(2), x(3));
        let fast = causal_attention(&q, &k, &v, 3).unwrap();
        assert!(distance(&fast, &plain::causal_attention(&q, &k, &v, 3).unwrap()) < 2e-6);
    }
}

/// A convolution that the algorithm of its weight does not support takes the plain form.
#[test]
fn a_convolution_of_any_stride_takes_any_weight() {
    let (kernel, x) = (numbers(&[16, 16, 3, 3], 1), numbers(&[1, 9, 8, 16], 2));
    let how = Conv {
        stride: 2,
        ..Conv::default()
    };
    let of = |pixels| {
        let layer = ConvWeight::from_conv(&kernel, None, pixels, Packing::default()).unwrap();
        conv2d(&x, &layer, how).unwrap()
    };
    assert!(distance(&of(1024), &of(0)) < 1e-5);
}
