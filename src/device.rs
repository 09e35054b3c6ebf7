//! On which device and in which numbers a model's UNet and VAE are computed: what a user may ask for, and
//! what it comes to on this machine. The one place that knows which devices are compiled in; it never
//! knows what is computed.
//!
//! Text encoder, noise, schedulers, guidance and blending are always the CPU's, in f32: they are small,
//! and so start noise and plan are the same everywhere.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};

use crate::error::{Error, Result};
use crate::machine::Memory;

/// What stands for [`DeviceChoice::Auto`] where it is set.
pub const DEVICE_VARIABLE: &str = "P2P_DEVICE";
/// What stands for [`DtypeChoice::Auto`] where it is set.
pub const DTYPE_VARIABLE: &str = "P2P_DTYPE";

/// A device, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// As `P2P_DEVICE` says, else a graphics card that is compiled in and there, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// By its number, as the driver counts.
    Cuda(usize),
    Metal,
}

/// The numbers that the UNet is computed in, as they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DtypeChoice {
    /// As `P2P_DTYPE` says, else f32 on the CPU and f16 on a graphics card.
    #[default]
    Auto,
    F32,
    F16,
    Bf16,
}

/// How a model is to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ComputeChoice {
    pub device: DeviceChoice,
    pub dtype: DtypeChoice,
    /// Whether pictures are decoded in bands of rows.
    pub vae_tiling: bool,
}

/// How it is computed.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Of UNet and VAE.
    pub device: Device,
    /// Of the UNet. The VAE has f32: in f16 that of Stable Diffusion XL overflows, and pictures show what
    /// bf16 leaves out.
    pub dtype: DType,
    pub vae_tiling: bool,
}

impl ComputeChoice {
    /// Errors: usage, for a device that is not compiled in or not there, and for variables of the
    /// environment that hold something else.
    pub fn open(&self) -> Result<Compute> {
        let device = match self.device {
            DeviceChoice::Auto => asked(DEVICE_VARIABLE)?.unwrap_or_default(),
            choice => choice,
        };
        let dtype = match self.dtype {
            DtypeChoice::Auto => asked(DTYPE_VARIABLE)?.unwrap_or_default(),
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
        match self.vae_tiling {
            true => f.write_str(", VAE tiled"),
            false => Ok(()),
        }
    }
}

impl Compute {
    /// `cpu`, `cuda` or `metal`.
    pub fn kind(&self) -> &'static str {
        match self.device {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        }
    }

    /// Whether it is what every machine has: the CPU, in f32.
    pub fn is_plain(&self) -> bool {
        self.device.is_cpu() && self.dtype == DType::F32
    }

    /// What the device has for weights and activations; `None` where nobody tells.
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
    /// As it is typed.
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
            format!("--device {self}: this p2p was built without {feature}"),
            format!(
                "build one with `cargo build --release --features {feature}`, or use --device cpu"
            ),
        )
    }

    fn not_there(self, cards: &[String], error: &candle_core::Error) -> Error {
        let reason = error.to_string();
        let reason = reason.lines().next().unwrap_or_default();
        match cards {
            [] => Error::usage(
                format!("--device {self}: none is found ({reason})"),
                "check its driver, or use --device cpu",
            ),
            cards => Error::usage(
                format!(
                    "--device {self} cannot be used ({reason}); there are {}",
                    cards.join(", ")
                ),
                "use one of these, or --device cpu",
            ),
        }
    }
}

/// The fastest that is compiled in and answers.
fn best() -> Device {
    let cuda = || Device::new_cuda(0).ok();
    let metal = || Device::new_metal(0).ok();
    cuda().or_else(metal).unwrap_or(Device::Cpu)
}

/// What a variable of the environment asks for; nothing where it is not set.
fn asked<T: FromStr<Err = String>>(variable: &str) -> Result<Option<T>> {
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

/// A kind of device, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKind {
    pub name: &'static str,
    pub compiled_in: bool,
    /// Those that are there, each as a line: `cuda:0 (NVIDIA L4)`.
    pub found: Vec<String>,
}

/// Every kind of device that there is.
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

/// NVIDIA's cards; `None` where there is no code for them.
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
