//! How long to wait before the next attempt.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, header};

/// Attempts without a new byte, after which a download is given up.
pub(crate) const ATTEMPTS: u32 = 5;
/// Longest pause that a server may demand.
pub(crate) const LONGEST_DEMANDED: Duration = Duration::from_mins(10);
const FIRST: Duration = Duration::from_millis(500);

/// Exponential back-off with full jitter: uniform from 0 to `0.5 s · 2^(attempt − 1)`. Attempts
/// count from 1.
pub(crate) fn backoff(attempt: u32) -> Duration {
    (FIRST * 2_u32.pow(attempt.saturating_sub(1).min(ATTEMPTS))).mul_f64(fastrand::f64())
}

/// The pause that a response demands: `Retry-After` in seconds or as a date. Zero if the date has
/// passed.
pub(crate) fn demanded(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let of = |value: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
            demanded(&headers, now).map(|pause| pause.as_secs())
        };
        // 784111777 s after 1970 is the example of RFC 9110, 5.6.7.
        assert_eq!(of("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0));
        assert_eq!((of("3"), of("-1"), of("soon")), (Some(3), None, None));
        assert_eq!(demanded(&HeaderMap::new(), now), None);
    }

    #[test]
    fn pauses_grow_and_are_limited() {
        for (attempt, longest) in [(1, 0.5), (2, 1.0), (4, 4.0)] {
            let pauses: Vec<_> = (0..200).map(|_| backoff(attempt).as_secs_f64()).collect();
            assert!(pauses.iter().all(|pause| *pause <= longest), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause > longest / 2.0), "{attempt}");
        }
    }
}
