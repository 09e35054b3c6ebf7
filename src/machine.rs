//! What this machine offers a run: memory and cores. Knows nothing of what they are for.

use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::error::{Error, Result};
use crate::format::bytes;

/// Bytes of memory, as a process sees them that may live under a container's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Of the machine, or the container's limit where that is lower.
    pub total: u64,
    /// What a new allocation may take before anything has to be swapped or killed.
    pub available: u64,
    /// Whether a container's limit is lower than the machine's memory.
    pub limited: bool,
}

impl Memory {
    /// As it is at this moment. `None` where the system does not tell.
    pub fn now() -> Option<Self> {
        let mut system = System::new().ok()?;
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        // Not only a missing number: the container's limit must not be asked for without one.
        if system.total_memory() == 0 {
            return None;
        }
        let machine = Self {
            total: system.total_memory(),
            available: system.available_memory(),
            limited: false,
        };
        let limits = own_limits(&mut system).or_else(|| system.cgroup_limits());
        Some(limits.map_or(machine, |limits| {
            machine.within(limits.total_memory, limits.rss)
        }))
    }

    /// The same under a container's limit, of which `used` is taken. Files that the kernel caches for
    /// the container are not counted as taken: it lets go of them when asked for more.
    pub fn within(self, limit: u64, used: u64) -> Self {
        match limit < self.total {
            false => self,
            true => Self {
                total: limit,
                available: self.available.min(limit.saturating_sub(used)),
                limited: true,
            },
        }
    }

    /// That `needed` bytes are available for `what`.
    ///
    /// # Errors
    /// [`Error::Memory`] that names both numbers.
    pub fn require(self, needed: u64, what: &str, cure: &str) -> Result<()> {
        if needed <= self.available {
            return Ok(());
        }
        let (needed, available) = (bytes(needed), bytes(self.available));
        Err(Error::memory(
            format!("{what} needs about {needed} of memory, and {available} are available"),
            cure,
        ))
    }
}

/// Those of the group that this process is in, which need not be the container's outermost: a batch system
/// gives each job one of its own.
fn own_limits(system: &mut System) -> Option<sysinfo::CGroupLimits> {
    let own = sysinfo::get_current_pid().ok()?;
    let only = ProcessesToUpdate::Some(&[own]);
    system.refresh_processes_specifics(only, false, ProcessRefreshKind::nothing());
    system.process(own)?.cgroup_limits()
}

/// What computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    /// As its maker calls it; empty where the system does not tell.
    pub name: String,
    /// Physical cores, where the system tells.
    pub cores: Option<usize>,
    /// Threads that this process may run at once: less than the machine has under an affinity mask or
    /// a container's share.
    pub threads: usize,
    /// Instruction sets that matter for arithmetic, and whether they are there.
    pub features: Vec<(&'static str, bool)>,
}

impl Cpu {
    /// This machine's.
    pub fn detect() -> Self {
        let name = System::new().ok().and_then(|mut system| {
            system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
            let first = system.cpus().first();
            first.map(|cpu| cpu.brand().trim().to_owned())
        });
        let threads = std::thread::available_parallelism();
        Self {
            name: name.unwrap_or_default(),
            cores: System::physical_core_count().ok(),
            threads: threads.map_or(1, |threads| threads.get()),
            features: features(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    use std::arch::is_x86_feature_detected as has;
    vec![
        ("avx2", has!("avx2")),
        ("fma", has!("fma")),
        ("avx512f", has!("avx512f")),
        ("f16c", has!("f16c")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![("neon", std::arch::is_aarch64_feature_detected!("neon"))]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<(&'static str, bool)> {
    vec![]
}
