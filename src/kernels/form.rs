//! The instruction set that the kernels use. It is detected at run time, so that one binary serves every machine.
//!
//! The AVX2 and AVX-512 forms give the same bits (see `lanes.rs`). The portable form can differ in the
//! last bit on a machine that has no fused multiply-add instruction. This file never knows an operation.

use std::sync::OnceLock;

/// An instruction set that the kernels are compiled for, from slow to fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any machine. On aarch64 the compiler turns this form into NEON.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F.
    Avx512,
}

impl Form {
    /// The environment variable that selects a form: `portable`, `avx2` or `avx512`. Tests use it to run
    /// the slower forms on a machine that supports all of them.
    pub const VARIABLE: &str = "P2P_KERNELS";

    /// The form in use: the one that `P2P_KERNELS` names if this machine supports it, otherwise the
    /// fastest one that this machine supports. The form does not change while the process runs.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Form> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let asked = std::env::var(Self::VARIABLE).ok();
            let wanted = |form: &Form| asked.as_deref().is_none_or(|name| name == form.name());
            let available = Self::available();
            *available
                .iter()
                .rev()
                .find(|form| wanted(form))
                .unwrap_or(&available[available.len() - 1])
        })
    }

    /// The forms that this machine supports, from slow to fast.
    pub fn available() -> Vec<Self> {
        let mut forms = vec![Form::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") {
                forms.push(Form::Avx2);
                if has!("avx512f") {
                    forms.push(Form::Avx512);
                }
            }
        }
        forms
    }

    /// The name of the form, as `P2P_KERNELS` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Form::Portable => "portable",
            Form::Avx2 => "avx2",
            Form::Avx512 => "avx512",
        }
    }

    /// The family of the form: `x86-fma` or `portable`. All forms of one family give the same bits.
    pub fn family(self) -> &'static str {
        match self {
            Form::Portable => "portable",
            Form::Avx2 | Form::Avx512 => "x86-fma",
        }
    }
}

/// Compiles a function of plain f32 operations once per form, and selects one at run time. The compiler
/// never contracts `a * b + c` into a fused operation, so every form computes the same bits.
macro_rules! wide {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        #[allow(unsafe_code, reason = "calls the version for the detected instruction set")]
        pub fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::form::Form;
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                #[target_feature(enable = "avx512f")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                match Form::current() {
                    // SAFETY: the current form is one whose features were detected.
                    Form::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: the current form is one whose features were detected.
                    Form::Avx2 => return unsafe { avx2($($arg),*) },
                    Form::Portable => {}
                }
            }
            plain($($arg),*)
        }
    };
}
pub(super) use wide;

/// Declares a function that runs a generic function over `lanes.rs` in the current form, with the features
/// of that form enabled: `by_form! { unsafe fn name = generic(x: f32) }`, where the generic function is
/// `unsafe fn generic<L: Lanes>(lanes: L, x: f32)`. That function and everything it calls must be
/// `#[inline(always)]`, otherwise they are compiled without the features.
macro_rules! by_form {
    ($(#[$doc:meta])* unsafe fn $name:ident = $generic:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        unsafe fn $name($($arg: $ty),*) {
            use $crate::kernels::form::Form;
            use $crate::kernels::lanes;
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2($($arg: $ty),*) {
                    // SAFETY: this function enables AVX2 and FMA. The rest is the contract of the caller.
                    unsafe { $generic(lanes::Avx2::assume_supported(), $($arg),*) }
                }
                #[target_feature(enable = "avx512f")]
                unsafe fn avx512($($arg: $ty),*) {
                    // SAFETY: this function enables AVX-512 F. The rest is the contract of the caller.
                    unsafe { $generic(lanes::Avx512::assume_supported(), $($arg),*) }
                }
                match Form::current() {
                    // SAFETY: the current form is one whose features were detected. The rest is the
                    // contract of the caller.
                    Form::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    Form::Avx2 => return unsafe { avx2($($arg),*) },
                    Form::Portable => {}
                }
            }
            // SAFETY: the contract of the caller.
            unsafe { $generic(lanes::Portable, $($arg),*) }
        }
    };
}
pub(super) use by_form;
