//! The memory and the processor of this machine. Owns how limits of containers are read. Never knows what
//! memory is used for.

use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::error::{Error, Result};
use crate::format::bytes;
use crate::message::Message;

/// Memory in bytes, as this process may use it under a container's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The machine's memory, or the container's limit where that is lower.
    pub total: u64,
    /// What can be allocated before the system swaps or kills processes.
    pub available: u64,
    /// Whether a container's limit is lower than the machine's memory.
    pub limited: bool,
}

impl Memory {
    /// The memory at this moment. `None` where the system does not report it.
    pub fn now() -> Option<Self> {
        let mut system = System::new().ok()?;
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        // sysinfo can read a container's limit only where it knows the machine's total.
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

    /// This memory under a container's `limit`, of which `used` bytes are in use. Files that the kernel caches for
    /// the container do not count as used: the kernel frees them when memory is needed.
    pub fn within(self, limit: u64, used: u64) -> Self {
        if limit >= self.total {
            return self;
        }
        Self {
            total: limit,
            available: self.available.min(limit.saturating_sub(used)),
            limited: true,
        }
    }

    /// Checks that `needed` bytes are available for `what`.
    ///
    /// # Errors
    /// [`Error::Memory`] that names both numbers, with the given cure.
    pub fn require(
        self,
        needed: u64,
        what: impl Into<Message>,
        cure: impl Into<Message>,
    ) -> Result<()> {
        if needed <= self.available {
            return Ok(());
        }
        let (needed, available) = (bytes(needed), bytes(self.available));
        let cause = what.into().then(format!(
            " needs about {needed} of memory, and {available} are available"
        ));
        Err(Error::memory(cause, cure))
    }
}

/// The limits of the control group that this process is in. It may be nested in the container's group: a batch
/// system gives each job a group of its own.
fn own_limits(system: &mut System) -> Option<sysinfo::CGroupLimits> {
    let own = sysinfo::get_current_pid().ok()?;
    let only = ProcessesToUpdate::Some(&[own]);
    system.refresh_processes_specifics(only, false, ProcessRefreshKind::nothing());
    system.process(own)?.cgroup_limits()
}

/// The processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    /// The name that its maker gives it; empty where the system does not report it.
    pub name: String,
    /// Physical cores, where the system reports them.
    pub cores: Option<usize>,
    /// Threads that this process may run at once. An affinity mask or a container's share can make them fewer than
    /// the machine has.
    pub threads: usize,
    /// Instruction sets that matter for arithmetic, and whether the processor has them.
    pub features: Vec<(&'static str, bool)>,
}

impl Cpu {
    /// Detects this machine's processor.
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
