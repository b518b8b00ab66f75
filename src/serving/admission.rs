//! Admission control: how many images may be in flight, from upload to response.
//!
//! The wait of a full queue is as long as its images take to complete. Under heavy overload, refused
//! requests and the machine's other work take time from the model, and the same number of images
//! would wait longer and longer. The limit then falls until 99 of 100 images complete within the time
//! that a full queue takes at its peak throughput.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::api_error::ApiError;

/// The limit never falls below this fraction of the maximum: large photos take longer than small
/// ones with nothing amiss.
const MIN_FRACTION: f64 = 0.5;

/// A late image lowers the limit by this much, and one in time raises it by a 99th of that. The two
/// balance when one of 100 is late (Robbins and Monro, "A Stochastic Approximation Method", 1951).
const STEP: f64 = 0.5;
const IN_TIME_PER_LATE: f64 = 99.0;

/// The shortest time over which throughput is measured.
const WINDOW: Duration = Duration::from_secs(1);

/// Latency in seconds that is never late: in a short queue it is due to the size of the photo.
const MIN_LATE: f64 = 0.05;

/// How fast peak throughput is forgotten, since machines change.
const HALF_LIFE: Duration = Duration::from_secs(3600);

/// Admits images while fewer than the current limit are in flight.
pub struct Admission {
    max: usize,
    limiter: Mutex<Limiter>,
}

/// Holds a request's images in flight until it is dropped: when the request is answered and none of
/// its images is still being worked on.
pub struct Permit {
    admission: Arc<Admission>,
    images: usize,
    admitted: Instant,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = Instant::now();
        let latency = now.duration_since(self.admitted);
        self.admission.lock().complete(self.images, latency, now);
    }
}

impl Admission {
    /// Admits at most `max` images.
    pub fn new(max: usize) -> Self {
        let limiter = Mutex::new(Limiter::new(max, Instant::now()));
        Self { max, limiter }
    }

    fn lock(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an image would be admitted now, so that a request can be refused before its upload,
    /// which costs more than the refusal.
    ///
    /// # Errors
    /// [`ApiError::QueueFull`] if not.
    pub fn check(&self) -> Result<(), ApiError> {
        let limiter = self.lock();
        match limiter.admits(1) {
            true => Ok(()),
            false => Err(limiter.queue_full()),
        }
    }

    /// Admits all images of a request.
    ///
    /// # Errors
    /// [`ApiError::QueueFull`] when they would exceed the limit.
    pub fn admit(self: &Arc<Self>, images: usize) -> Result<Arc<Permit>, ApiError> {
        let admitted = Instant::now();
        let mut limiter = self.lock();
        if !limiter.admits(images) {
            return Err(limiter.queue_full());
        }
        limiter.start(images, admitted);
        Ok(Arc::new(Permit {
            admission: Arc::clone(self),
            images,
            admitted,
        }))
    }

    /// Images in flight.
    pub fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    /// The highest limit there can be.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The limit under the present load.
    pub fn limit(&self) -> usize {
        self.lock().limit as usize
    }

    /// Forgets the throughput of a previous model.
    pub fn reset(&self) {
        let mut limiter = self.lock();
        *limiter = Limiter {
            in_flight: limiter.in_flight,
            ..Limiter::new(self.max, Instant::now())
        };
    }
}

struct Limiter {
    max: f64,
    in_flight: usize,
    /// Fractions add up to whole images.
    limit: f64,
    /// Start of the measurement; an idle server does not measure.
    window_start: Instant,
    completed: usize,
    /// Images per second in the last window and at best; 0 while unknown.
    throughput: f64,
    peak: f64,
}

impl Limiter {
    fn new(max: usize, now: Instant) -> Self {
        Self {
            max: max as f64,
            in_flight: 0,
            limit: max as f64,
            window_start: now,
            completed: 0,
            throughput: 0.0,
            peak: 0.0,
        }
    }

    /// An idle server admits any number of images, so that a request with more of them than a lowered
    /// limit gets through at all.
    fn admits(&self, images: usize) -> bool {
        self.in_flight == 0 || self.in_flight + images <= self.limit as usize
    }

    fn queue_full(&self) -> ApiError {
        let wait = if self.throughput > 0.0 {
            self.max / self.throughput
        } else {
            0.0
        };
        ApiError::QueueFull {
            retry_after: wait as u64 + 1,
        }
    }

    fn start(&mut self, images: usize, now: Instant) {
        if self.in_flight == 0 {
            self.window_start = now;
            self.completed = 0;
        }
        self.in_flight += images;
    }

    fn complete(&mut self, images: usize, latency: Duration, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(images);
        self.completed += images;
        let elapsed = now.duration_since(self.window_start);
        if elapsed >= WINDOW {
            self.throughput = self.completed as f64 / elapsed.as_secs_f64();
            let half_lives = elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64();
            self.peak = self.throughput.max(self.peak * (-half_lives).exp2());
            self.window_start = now;
            self.completed = 0;
        }
        let allowed = (self.max / self.peak).max(MIN_LATE);
        let late = self.peak > 0.0 && latency.as_secs_f64() > allowed;
        let step = if late { -STEP } else { STEP / IN_TIME_PER_LATE };
        let min = (MIN_FRACTION * self.max).max(1.0);
        self.limit = (self.limit + step * images as f64).clamp(min, self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 64;

    /// Saturates the limiter while images complete one after another at a given throughput, with
    /// latencies that vary by a fifth. Returns the fraction of late images in the second half.
    fn saturate(limiter: &mut Limiter, now: &mut Instant, throughput: f64, images: usize) -> f64 {
        let mut late = 0;
        for nth in 0..images {
            while limiter.admits(1) {
                limiter.start(1, *now);
            }
            *now += Duration::from_secs_f64(1.0 / throughput);
            let jitter = 1.0 + 0.2 * (nth * 37 % 101) as f64 / 101.0;
            let after = Duration::from_secs_f64(jitter * limiter.in_flight as f64 / throughput);
            let in_time = after.as_secs_f64() <= MAX as f64 / limiter.peak;
            late += usize::from(nth >= images / 2 && !in_time);
            limiter.complete(1, after, *now);
        }
        late as f64 / (images - images / 2) as f64
    }

    #[test]
    fn under_overload_the_limit_falls_until_the_wait_is_as_before() {
        let mut now = Instant::now();
        let mut limiter = Limiter::new(MAX, now);
        for _ in 0..2000 {
            limiter.start(1, now);
            limiter.start(1, now);
            now += Duration::from_millis(1);
            limiter.complete(1, Duration::from_millis(2), now);
            limiter.in_flight = 1;
        }
        assert!((limiter.peak - 1000.0).abs() < 20.0, "{}", limiter.peak);
        assert_eq!(limiter.limit as usize, MAX);

        let late = saturate(&mut limiter, &mut now, 800.0, 40_000);
        assert!((0.004..0.02).contains(&late), "{late}");
        let wait = limiter.limit / 800.0;
        assert!((0.042..0.064).contains(&wait), "{wait}");

        saturate(&mut limiter, &mut now, 100.0, 1000);
        assert_eq!(limiter.limit as usize, MAX / 2);
        saturate(&mut limiter, &mut now, 1200.0, 20_000);
        assert!(limiter.limit as usize > MAX * 3 / 4, "{}", limiter.limit);
    }

    #[test]
    fn idle_time_is_not_measured() {
        let mut now = Instant::now();
        let mut limiter = Limiter::new(MAX, now);
        for _ in 0..50 {
            limiter.start(1, now);
            now += Duration::from_millis(5);
            limiter.complete(1, Duration::from_millis(5), now);
            now += Duration::from_secs(60);
        }
        assert_eq!((limiter.throughput, limiter.peak), (0.0, 0.0));
        assert!(matches!(
            limiter.queue_full(),
            ApiError::QueueFull { retry_after: 1 }
        ));
    }

    #[test]
    fn a_short_queue_keeps_its_limit_for_large_photos() {
        let mut now = Instant::now();
        let mut limiter = Limiter::new(4, now);
        for after in [1, 45] {
            for _ in 0..3000 {
                limiter.start(1, now);
                limiter.start(1, now);
                now += Duration::from_millis(after);
                limiter.complete(1, Duration::from_millis(after), now);
                limiter.in_flight = 1;
            }
        }
        assert!(limiter.peak > 900.0, "{}", limiter.peak);
        assert_eq!(limiter.limit, 4.0);
    }

    #[test]
    fn an_idle_server_admits_a_large_request() {
        let now = Instant::now();
        let mut limiter = Limiter::new(MAX, now);
        limiter.limit = 32.0;
        assert!(limiter.admits(40));
        limiter.start(1, now);
        assert!(!limiter.admits(40));
        assert!(limiter.admits(31));
        assert!(!limiter.admits(32));
    }
}
