//! Which instructions the kernels use: found at run time, so that one binary serves every machine.
//!
//! The AVX2 and the AVX-512 form give the same bits (see `lanes.rs`); the portable one may differ in
//! the last, where a machine has no fused multiply-add.

use std::sync::OnceLock;

/// From slow to fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any machine; on aarch64 the compiler turns it into NEON.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F.
    Avx512,
}

impl Form {
    /// The environment variable that lowers the form, for tests on a machine that has them all:
    /// `portable`, `avx2` or `avx512`.
    pub const VARIABLE: &str = "P2P_KERNELS";

    /// The fastest that this machine has, or the one that `P2P_KERNELS` asks for if it has that.
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

    /// Those that this machine has, from slow to fast.
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

    pub fn name(self) -> &'static str {
        match self {
            Form::Portable => "portable",
            Form::Avx2 => "avx2",
            Form::Avx512 => "avx512",
        }
    }

    /// The forms among which every bit agrees: `x86-fma` or `portable`.
    pub fn family(self) -> &'static str {
        match self {
            Form::Portable => "portable",
            Form::Avx2 | Form::Avx512 => "x86-fma",
        }
    }
}

/// Compiles a function of plain f32 operations once per form, and picks at run time. The compiler
/// never contracts `a * b + c`, so that every form computes the same bits.
macro_rules! wide {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
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
                // SAFETY: a form is current only where its features were detected.
                match Form::current() {
                    Form::Avx512 => return unsafe { avx512($($arg),*) },
                    Form::Avx2 => return unsafe { avx2($($arg),*) },
                    Form::Portable => {}
                }
            }
            plain($($arg),*)
        }
    };
}
pub(super) use wide;

/// Names a function that runs a generic one over `lanes.rs` in the form in use, with its features
/// enabled: `by_form! { pub unsafe fn name = generic(x: f32) }`, where `unsafe fn generic<L: Lanes>(x: f32)`
/// and all that it calls are `#[inline(always)]`.
macro_rules! by_form {
    ($(#[$doc:meta])* pub unsafe fn $name:ident = $generic:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub unsafe fn $name($($arg: $ty),*) {
            use $crate::kernels::form::Form;
            use $crate::kernels::lanes;
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2($($arg: $ty),*) {
                    // SAFETY: the caller's promise, passed on.
                    unsafe { $generic::<lanes::Avx2>($($arg),*) }
                }
                #[target_feature(enable = "avx512f")]
                unsafe fn avx512($($arg: $ty),*) {
                    // SAFETY: the caller's promise, passed on.
                    unsafe { $generic::<lanes::Avx512>($($arg),*) }
                }
                // SAFETY: a form is current only where its features were detected; the rest is the
                // caller's promise.
                match Form::current() {
                    Form::Avx512 => return unsafe { avx512($($arg),*) },
                    Form::Avx2 => return unsafe { avx2($($arg),*) },
                    Form::Portable => {}
                }
            }
            // SAFETY: the caller's promise, passed on.
            unsafe { $generic::<lanes::Portable>($($arg),*) }
        }
    };
}
pub(super) use by_form;
