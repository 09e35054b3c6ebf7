//! The device and the dtype in which UNet and VAE compute: the user's choice, and what it means on this machine. The
//! one place that knows which devices are compiled in. Never knows what is computed.
//!
//! Text encoders, noise, schedulers, guidance and blending always run on the CPU in f32: they are small, and the
//! start noise and the plan are then the same on every machine.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};

use crate::error::{Error, Result};
use crate::machine::Memory;
use crate::message;
use crate::setting::Setting;

/// The environment variable that replaces [`DeviceChoice::Auto`].
pub const DEVICE_VARIABLE: &str = "P2P_DEVICE";
/// The environment variable that replaces [`DtypeChoice::Auto`].
pub const DTYPE_VARIABLE: &str = "P2P_DTYPE";

/// A device, as a user chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The device in `P2P_DEVICE`, or else a graphics card if one is supported and found, or else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA card, by the driver's number.
    Cuda(usize),
    /// Apple's graphics processor.
    Metal,
}

/// The dtype of the UNet, as a user chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DtypeChoice {
    /// The dtype in `P2P_DTYPE`, or else f32 on the CPU and f16 on a graphics card.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats of IEEE 754.
    F16,
    /// 16-bit floats with the exponent of f32.
    Bf16,
}

/// How a model computes, as a user chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ComputeChoice {
    /// The device of UNet and VAE.
    pub device: DeviceChoice,
    /// The dtype of the UNet.
    pub dtype: DtypeChoice,
    /// Whether pictures are decoded in bands of rows.
    pub vae_tiling: bool,
}

/// How a model computes on this machine.
#[derive(Debug, Clone)]
pub struct Compute {
    /// The device of UNet and VAE.
    pub device: Device,
    /// The dtype of the UNet. The VAE always computes in f32: Stable Diffusion XL's overflows in f16, and the
    /// rounding of bf16 shows in pictures.
    pub dtype: DType,
    /// Whether pictures are decoded in bands of rows.
    pub vae_tiling: bool,
}

impl ComputeChoice {
    /// Opens the chosen device.
    ///
    /// # Errors
    /// [`Error::Usage`] for a device that is not compiled in or not found, and for unknown values of the environment
    /// variables.
    pub fn open(&self) -> Result<Compute> {
        let device = match self.device {
            DeviceChoice::Auto => from_environment(DEVICE_VARIABLE)?.unwrap_or_default(),
            choice => choice,
        };
        let dtype = match self.dtype {
            DtypeChoice::Auto => from_environment(DTYPE_VARIABLE)?.unwrap_or_default(),
            choice => choice,
        };
        let device = device.open()?;
        Ok(Compute {
            dtype: dtype.on(&device),
            device,
            vae_tiling: self.vae_tiling,
        })
    }
}

impl Default for Compute {
    /// The CPU, in f32.
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            dtype: DType::F32,
            vae_tiling: false,
        }
    }
}

impl fmt::Display for Compute {
    /// `f16 on cuda`, `f32 on cpu, VAE tiled`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.dtype.as_str(), self.kind())?;
        if self.vae_tiling {
            f.write_str(", VAE tiled")?;
        }
        Ok(())
    }
}

impl Compute {
    /// The kind of device: `cpu`, `cuda` or `metal`.
    pub fn kind(&self) -> &'static str {
        match self.device {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        }
    }

    /// Whether this is what every machine can compute: f32 on the CPU.
    pub fn is_plain(&self) -> bool {
        self.device.is_cpu() && self.dtype == DType::F32
    }

    /// The device's memory for weights and activations. `None` where the system does not report it.
    pub fn memory(&self) -> Option<Memory> {
        match &self.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => cuda::memory(device),
            _ => Memory::now(),
        }
    }
}

impl DtypeChoice {
    fn on(self, device: &Device) -> DType {
        match (self, device) {
            (Self::F32, _) | (Self::Auto, Device::Cpu) => DType::F32,
            (Self::F16 | Self::Auto, _) => DType::F16,
            (Self::Bf16, _) => DType::BF16,
        }
    }
}

impl FromStr for DtypeChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "f32" => Self::F32,
            "f16" => Self::F16,
            "bf16" => Self::Bf16,
            _ => return Err("use auto, f32, f16 or bf16".to_owned()),
        })
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let card = |number: &str| number.parse().ok().map(Self::Cuda);
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "metal" => Some(Self::Metal),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(card),
        }
        .ok_or_else(|| "use auto, cpu, cuda, cuda:1 (a card by its number) or metal".to_owned())
    }
}

impl fmt::Display for DeviceChoice {
    /// The text that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl DeviceChoice {
    fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(best()),
            Self::Cuda(number) => {
                let cards = cards().ok_or_else(|| self.not_compiled("cuda"))?;
                Device::new_cuda(number).map_err(|error| self.not_there(&cards, &error))
            }
            Self::Metal => {
                if !cfg!(feature = "metal") {
                    return Err(self.not_compiled("metal"));
                }
                Device::new_metal(0).map_err(|error| self.not_there(&[], &error))
            }
        }
    }

    fn not_compiled(self, feature: &str) -> Error {
        Error::usage(
            message![
                Setting::Device.to(self),
                format!(": this p2p was built without {feature}"),
            ],
            message![
                format!("build one with `cargo build --release --features {feature}`, or use "),
                Setting::Device.to(Self::Cpu),
            ],
        )
        .about(Setting::Device)
    }

    fn not_there(self, cards: &[String], error: &candle_core::Error) -> Error {
        let reason = error.to_string();
        let reason = reason.lines().next().unwrap_or_default();
        let (what, cure) = if cards.is_empty() {
            (
                format!(": none is found ({reason})"),
                "check its driver, or use ",
            )
        } else {
            let found = cards.join(", ");
            let what = format!(" does not work ({reason}); these are found: {found}");
            (what, "use one of these, or ")
        };
        let cause = message![Setting::Device.to(self), what];
        let cure = message![cure, Setting::Device.to(Self::Cpu)];
        Error::usage(cause, cure).about(Setting::Device)
    }
}

/// The fastest device that is compiled in and works.
fn best() -> Device {
    let cuda = || Device::new_cuda(0).ok();
    let metal = || Device::new_metal(0).ok();
    cuda().or_else(metal).unwrap_or(Device::Cpu)
}

/// The value of an environment variable. `None` where it is not set.
fn from_environment<T: FromStr<Err = String>>(variable: &str) -> Result<Option<T>> {
    let text = std::env::var(variable).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let refused = |cure: String| {
        Error::usage(
            format!("{variable}={text} is not known"),
            format!("{cure}, or unset it"),
        )
    };
    text.parse().map(Some).map_err(refused)
}

/// A kind of device, to be shown to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKind {
    /// `cpu`, `cuda` or `metal`.
    pub name: &'static str,
    /// Whether this binary supports it.
    pub compiled_in: bool,
    /// The devices that are found, each as a line: `cuda:0 (NVIDIA L4)`.
    pub found: Vec<String>,
}

/// Every kind of device, supported or not.
pub fn kinds() -> Vec<DeviceKind> {
    let kind = |name, found: Option<Vec<String>>| DeviceKind {
        name,
        compiled_in: found.is_some(),
        found: found.unwrap_or_default(),
    };
    let metal = || {
        Device::new_metal(0)
            .iter()
            .map(|_| "metal".to_owned())
            .collect()
    };
    vec![
        kind("cpu", Some(vec!["cpu".to_owned()])),
        kind("cuda", cards()),
        kind("metal", cfg!(feature = "metal").then(metal)),
    ]
}

/// The NVIDIA cards of this machine. `None` where the binary does not support them.
fn cards() -> Option<Vec<String>> {
    #[cfg(feature = "cuda")]
    return Some(cuda::cards());
    #[cfg(not(feature = "cuda"))]
    None
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::CudaDevice;
    use candle_core::cuda_backend::cudarc::driver::{CudaContext, result};

    use super::Memory;

    pub fn cards() -> Vec<String> {
        let count = CudaContext::device_count().unwrap_or(0);
        let card = |number: i32| {
            let name = result::device::get(number).and_then(result::device::get_name);
            format!(
                "cuda:{number} ({})",
                name.unwrap_or_else(|_| "no name".to_owned())
            )
        };
        (0..count).map(card).collect()
    }

    pub fn memory(device: &CudaDevice) -> Option<Memory> {
        let (free, total) = device.cuda_stream().context().mem_get_info().ok()?;
        Some(Memory {
            total: total as u64,
            available: free as u64,
            limited: false,
        })
    }
}
