//! A group of processes that compute together.

use std::cell::Cell;
use std::time::Duration;

use tch::{Kind, Tensor};

use super::ffi;
use super::lost::Lost;
use super::place::Place;
use super::share::Share;
use super::store::{Store, line};
use super::told::Told;
use super::watch::{Watch, ended};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::torch::torch;

/// How long the others may take for what one process does alone, such as reading a data set. One that ends
/// is noticed at once all the same.
pub(super) const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The processes of a run. All of them have to make the same calls in the same order.
pub struct Group {
    place: Place,
    watch: Watch,
    // Closed before the store, which they were opened by.
    nccl: Option<ffi::Group>,
    gloo: ffi::Group,
    _store: Store,
    /// Of all processes, by rank.
    hosts: Vec<String>,
    timeout: Duration,
    /// Whether another process was lost.
    is_broken: Cell<bool>,
}

/// What a group is made of.
pub(super) struct Connections {
    pub watch: Watch,
    pub nccl: Option<ffi::Group>,
    pub gloo: ffi::Group,
    pub store: Store,
}

impl Group {
    pub(super) fn new(
        place: Place,
        connections: Connections,
        hosts: Vec<String>,
        timeout: Duration,
    ) -> Self {
        let Connections {
            watch,
            nccl,
            gloo,
            store,
        } = connections;
        Self {
            place,
            watch,
            nccl,
            gloo,
            _store: store,
            hosts,
            timeout,
            is_broken: Cell::new(false),
        }
    }

    pub(crate) fn share(&self) -> Share {
        self.place.share
    }

    pub(crate) fn rank(&self) -> usize {
        self.place.share.rank
    }

    pub(crate) fn world(&self) -> usize {
        self.place.share.world
    }

    /// Whether this is process 0, which writes and reports.
    pub(crate) fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// The processes on this machine.
    pub(crate) fn local_world(&self) -> usize {
        self.place.local_world
    }

    /// The device of this process, where those of its machine compute on one like this.
    pub(crate) fn device(&self, device: Device) -> Device {
        self.place.device(device)
    }

    /// The machine that this process runs on.
    pub(crate) fn host(&self) -> &str {
        self.hosts.get(self.rank()).map_or("", String::as_str)
    }

    /// What carries gradients.
    pub(crate) fn collectives(&self) -> &'static str {
        match self.nccl {
            Some(_) => "NCCL",
            None => "Gloo",
        }
    }

    /// Replaces tensors by their sums over all processes, in place. They must be dense, and of the same
    /// shapes, types and order in memory everywhere.
    ///
    /// # Errors
    /// [`Error::Environment`] when another process has ended or does not answer in time.
    pub(crate) fn all_reduce(&self, tensors: &[Tensor]) -> Result<()> {
        let (on_gpu, others): (Vec<Tensor>, Vec<Tensor>) = match &self.nccl {
            Some(_) => {
                let clones = tensors.iter().map(Tensor::shallow_clone);
                clones.partition(|tensor| tensor.device().is_cuda())
            }
            None => (
                Vec::new(),
                tensors.iter().map(Tensor::shallow_clone).collect(),
            ),
        };
        if let Some(nccl) = self.nccl.as_ref().filter(|_| !on_gpu.is_empty()) {
            nccl.all_reduce(&on_gpu)
                .map_err(|cause| self.lost(&cause))?;
        }
        if !others.is_empty() {
            self.gloo
                .all_reduce(&others)
                .map_err(|cause| self.lost(&cause))?;
        }
        Ok(())
    }

    /// The sums of numbers over all processes, unless one has an error in their place: then all get it, the
    /// others with the name of the process.
    ///
    /// # Errors
    /// That of the first process that has one, and those of [`all_reduce`](Self::all_reduce).
    pub(crate) fn sum<const N: usize>(&self, own: Result<[f64; N]>) -> Result<[f64; N]> {
        let (numbers, error) = match own {
            Ok(numbers) => (numbers, None),
            Err(error) => ([0.0; N], Some(error)),
        };
        let failed = f64::from(u8::from(error.is_some()));
        let mut all = [&numbers[..], &[failed]].concat();
        self.add_up(&mut all)?;
        match all.split_last() {
            Some((&0.0, sums)) => {
                let mut numbers = [0.0; N];
                numbers.copy_from_slice(sums);
                Ok(numbers)
            }
            _ => Err(self.failure(error)?),
        }
    }

    /// What this process has come to, unless another one has an error.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    pub(crate) fn together<T>(&self, own: Result<T>) -> Result<T> {
        let (value, error) = match own {
            Ok(value) => (Some(value), Ok([])),
            Err(error) => (None, Err(error)),
        };
        self.sum::<0>(error)?;
        value.ok_or_else(|| anyhow::anyhow!("an error got lost between processes"))
    }

    /// Waits for all processes.
    ///
    /// # Errors
    /// As [`all_reduce`](Self::all_reduce).
    pub(crate) fn barrier(&self) -> Result<()> {
        self.sum(Ok([])).map(|[]| ())
    }

    /// The bytes that process `root` has; the others' are ignored.
    ///
    /// # Errors
    /// As [`all_reduce`](Self::all_reduce).
    pub(crate) fn broadcast(&self, own: Vec<u8>, root: usize) -> Result<Vec<u8>> {
        let is_root = self.rank() == root;
        let mut length = [if is_root { own.len() as f64 } else { 0.0 }];
        self.add_up(&mut length)?;
        let length = length[0] as usize;
        let bytes = match is_root {
            true => torch(Tensor::f_from_slice(&own))?,
            false => torch(Tensor::f_zeros(
                [length as i64],
                (Kind::Uint8, tch::Device::Cpu),
            ))?,
        };
        drop(own);
        let sent = self.gloo.broadcast(&[bytes.shallow_clone()], root);
        sent.map_err(|cause| self.lost(&cause))?;
        let mut values = vec![0u8; length];
        torch(bytes.f_copy_data(&mut values, length))?;
        Ok(values)
    }

    /// The bytes that each process has, by rank.
    ///
    /// # Errors
    /// As [`all_reduce`](Self::all_reduce).
    pub(crate) fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut lengths = vec![0.0; self.world()];
        lengths[self.rank()] = own.len() as f64;
        self.add_up(&mut lengths)?;
        let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
        let before: usize = lengths[..self.rank()].iter().sum();
        let mut all = vec![0u8; lengths.iter().sum()];
        all[before..before + own.len()].copy_from_slice(own);
        if !all.is_empty() {
            // Where one process has bytes, the others have zeros.
            let sums = torch(Tensor::f_from_slice(&all))?;
            let added = self.gloo.all_reduce(&[sums.shallow_clone()]);
            added.map_err(|cause| self.lost(&cause))?;
            let length = all.len();
            torch(sums.f_copy_data(&mut all, length))?;
        }
        let mut rest = &all[..];
        let parts = lengths.into_iter().map(|length| {
            let (part, others) = rest.split_at(length);
            rest = others;
            part.to_vec()
        });
        Ok(parts.collect())
    }

    /// Runs what one process may keep the others waiting in for long.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) fn patiently<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let set = |timeout| {
            let set = self.gloo.set_timeout(timeout);
            set.map_err(|cause| self.lost(&cause))
        };
        set(PATIENCE)?;
        let done = work();
        set(self.timeout)?;
        done
    }

    /// Adds up float64 numbers in place.
    pub(crate) fn add_up(&self, numbers: &mut [f64]) -> Result<()> {
        let sums = torch(Tensor::f_from_slice(numbers))?;
        let added = self.gloo.all_reduce(&[sums.shallow_clone()]);
        added.map_err(|cause| self.lost(&cause))?;
        torch(sums.f_copy_data(numbers, numbers.len()))
    }

    /// This process's error, or what the first that has one tells of it.
    fn failure(&self, own: Option<anyhow::Error>) -> Result<anyhow::Error> {
        let mut failed = vec![0.0; self.world()];
        if own.is_some() {
            failed[self.rank()] = 1.0;
        }
        self.add_up(&mut failed)?;
        let first = failed.iter().position(|&failed| failed > 0.0).unwrap_or(0);
        let told = own.as_ref().map(Told::of);
        let told = self.broadcast(serde_json::to_vec(&told)?, first)?;
        let told: Option<Told> = serde_json::from_slice(&told)?;
        Ok(match (own, told) {
            (Some(error), _) if first == self.rank() => error,
            (Some(error), _) => error.context(Lost),
            (None, Some(told)) => {
                let host = self.hosts.get(first).map_or("?", String::as_str);
                let told = told.into_error(&format!("process {first} on {host}: "));
                told.context(Lost)
            }
            (None, None) => anyhow::anyhow!("process {first} failed without a word"),
        })
    }

    fn lost(&self, cause: &str) -> anyhow::Error {
        self.is_broken.set(true);
        let cause = line(cause);
        if cause.to_lowercase().contains("timed out") || cause.contains("imeout") {
            return Error::Environment(format!(
                "another process did not answer within --collective-timeout ({} s): it hangs, or can't \
                 be reached ({cause}); end all and continue with --resume, or start them with \
                 --resume-or-start",
                self.timeout.as_secs()
            ))
            .into();
        }
        ended(&cause)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_broken.get() {
            self.watch.abandon();
            // NCCL would wait for the process that is lost.
            std::mem::forget(self.nccl.take());
        } else {
            self.watch.close();
        }
    }
}
