//! What an error answer to `BatchMeterUsage` means: one pure function, a test a row.
//!
//! Names: botocore 1.44.5, service model `meteringmarketplace` (errors of `BatchMeterUsage`), AWS's common errors, and
//! those only the vendor's guides mention. What is known not to have been taken is told apart from what may have been.

use std::time::Duration;

use remittance::Outcome;

/// Whose fault an error is, by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// One of the records; AWS does not say which and takes none.
    Record,
    /// One of the records is outside the time AWS takes; none was taken.
    Time,
    /// Set up wrongly at AWS or in the catalogue; nothing was taken.
    Configuration,
    /// Credentials, signature or clock; nothing was taken.
    Credentials,
    /// Too many calls; nothing was taken.
    Throttled,
    /// Trouble at AWS; what it did before is not certain.
    Server,
}

/// The outcome of an error answer for each record of a call of `batch` records.
///
/// - `kind` is the error's type as [`kind`] cuts it, `after` their `Retry-After`.
/// - A wrong product code and a disabled API are `unauthorised`: of the outcomes there are it is the one that stops the
///   destination and wakes somebody, takes nothing for billed and spends nobody's tries. No record is at fault, and
///   none may be dropped for it.
/// - A 503 without a throttling type is `unavailable`, not `throttled`: a gateway that gave up waiting says 503 too, and
///   the record behind it may have been taken.
/// - Refused access is never one record's: `BatchMeterUsage` knows no resource that a policy could name, and a buyer or
///   product that is not ours has error types of its own.
pub(super) fn outcome(status: u16, kind: Option<&str>, after: Option<Duration>, batch: usize) -> Outcome {
    let code = kind.map_or_else(|| format!("http_{status}"), str::to_owned);
    let class = kind.and_then(class);
    match class {
        Some(Class::Throttled) => Outcome::Throttled { after },
        Some(Class::Server) => Outcome::Unavailable { code, after },
        // A type that blames us on a status that blames them: not an answer to build on.
        _ if status >= 500 => Outcome::Unavailable { code, after },
        _ if !(400..500).contains(&status) => Outcome::Unrecognised { code, record_alone: false },
        Some(Class::Record) if batch == 1 => Outcome::Rejected { code },
        Some(Class::Time) if batch == 1 => Outcome::TooOld { code },
        Some(Class::Record | Class::Time) => Outcome::BatchRefused { code },
        Some(Class::Configuration | Class::Credentials) => Outcome::Unauthorised { code },
        None => match status {
            401 | 403 => Outcome::Unauthorised { code },
            429 => Outcome::Throttled { after },
            _ => Outcome::Unrecognised { code, record_alone: false },
        },
    }
}

/// Cuts an error's type as it stands in `x-amzn-errortype` or `__type`: all up to `#` goes, and all from `:` on.
pub(super) fn kind(raw: &str) -> Option<String> {
    let name = raw.split_once('#').map_or(raw, |(_, name)| name);
    crate::evidence::code(name.split_once(':').map_or(name, |(name, _)| name).trim())
}

fn class(kind: &str) -> Option<Class> {
    Some(match kind {
        "InvalidUsageDimensionException"
        | "InvalidLicenseException"
        | "InvalidTagException"
        | "InvalidUsageAllocationsException"
        | "InvalidCustomerIdentifierException"
        // Not in the model: the guide's name, and AWS's common ones for input it does not even begin to work on.
        | "TooManyTagsException"
        | "ValidationException"
        | "SerializationException"
        // The call's product is one subscription's entry in the catalogue: it must not stop the seller's other products.
        | "InvalidProductCodeException" => Class::Record,
        "TimestampOutOfBoundsException" => Class::Time,
        "DisabledApiException" => Class::Configuration,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "ExpiredToken"
        // Modelled for ResolveCustomer alone, but expired session credentials say the same on any call.
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "TokenRefreshRequired"
        | "UnrecognizedClientException" => Class::Credentials,
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "TooManyRequestsException" => Class::Throttled,
        "InternalServiceErrorException"
        | "InternalServiceException"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Class::Server,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(kind: &str) -> String {
        kind.to_owned()
    }

    /// What a 400 of this type means for a call of many records and of one.
    fn many_and_one(kind: &str) -> (Outcome, Outcome) {
        (outcome(400, Some(kind), None, 25), outcome(400, Some(kind), None, 1))
    }

    fn refuses_the_batch(kind: &str) {
        let expected = (Outcome::BatchRefused { code: code(kind) }, Outcome::Rejected { code: code(kind) });
        assert_eq!(many_and_one(kind), expected);
    }

    fn stops_the_destination(kind: &str) {
        let expected = Outcome::Unauthorised { code: code(kind) };
        assert!(expected.is_destination_fault() && !expected.may_have_arrived());
        assert_eq!(many_and_one(kind), (expected.clone(), expected));
    }

    #[test]
    fn d2_invalid_usage_dimension_refuses_the_batch() {
        refuses_the_batch("InvalidUsageDimensionException");
    }

    #[test]
    fn d2_invalid_license_refuses_the_batch() {
        refuses_the_batch("InvalidLicenseException");
    }

    #[test]
    fn d2_invalid_tag_refuses_the_batch() {
        refuses_the_batch("InvalidTagException");
    }

    #[test]
    fn d2_invalid_usage_allocations_refuse_the_batch() {
        refuses_the_batch("InvalidUsageAllocationsException");
    }

    #[test]
    fn d2_invalid_customer_identifier_refuses_the_batch() {
        refuses_the_batch("InvalidCustomerIdentifierException");
    }

    #[test]
    fn d2_names_outside_the_model_refuse_the_batch_by_class() {
        refuses_the_batch("TooManyTagsException");
        refuses_the_batch("ValidationException");
    }

    #[test]
    fn d11_timestamp_out_of_bounds_is_isolated_and_then_too_old() {
        let kind = "TimestampOutOfBoundsException";
        let expected = (Outcome::BatchRefused { code: code(kind) }, Outcome::TooOld { code: code(kind) });
        assert_eq!(many_and_one(kind), expected);
    }

    #[test]
    fn d2_invalid_product_code_refuses_the_batch_and_no_other_product() {
        refuses_the_batch("InvalidProductCodeException");
    }

    #[test]
    fn d9_disabled_api_stops_the_destination() {
        stops_the_destination("DisabledApiException");
    }

    #[test]
    fn d9_refused_credentials_stop_the_destination() {
        for kind in [
            "AccessDeniedException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidClientTokenId",
        ] {
            stops_the_destination(kind);
        }
    }

    #[test]
    fn d9_a_403_without_a_known_type_is_unauthorised() {
        assert_eq!(outcome(403, None, None, 25), Outcome::Unauthorised { code: code("http_403") });
        assert_eq!(outcome(401, Some("Odd"), None, 25), Outcome::Unauthorised { code: code("Odd") });
    }

    #[test]
    fn d12_throttling_carries_their_wait() {
        let after = Some(Duration::from_secs(7));
        for (status, kind) in [(400, Some("ThrottlingException")), (503, Some("ThrottlingException")), (429, None)] {
            assert_eq!(outcome(status, kind, after, 25), Outcome::Throttled { after }, "{status}");
        }
    }

    #[test]
    fn d8_trouble_at_aws_is_unavailable_and_may_have_arrived() {
        let names = ["InternalServiceErrorException", "InternalServiceException", "ServiceUnavailableException"];
        for (status, kind) in
            names.map(|name| (400, Some(name))).into_iter().chain([(500, None), (502, None), (503, None)])
        {
            let outcome = outcome(status, kind, None, 25);
            assert!(matches!(outcome, Outcome::Unavailable { .. }) && outcome.may_have_arrived(), "{status} {kind:?}");
        }
        let after = Some(Duration::from_secs(7));
        for (status, kind) in [(400, Some("ServiceUnavailable")), (503, None), (500, Some("InvalidLicenseException"))] {
            assert_eq!(outcome(status, kind, after, 25).after(), after, "j9: {status} carries their wait");
        }
        let odd = outcome(500, Some("InvalidLicenseException"), None, 25);
        assert_eq!(odd, Outcome::Unavailable { code: code("InvalidLicenseException"), after: None });
    }

    #[test]
    fn d8_an_unknown_refusal_is_unrecognised() {
        for status in [400, 404, 413] {
            let outcome = outcome(status, Some("NewException"), None, 25);
            assert_eq!(outcome, Outcome::Unrecognised { code: code("NewException"), record_alone: false });
            assert!(outcome.may_have_arrived(), "an unknown word proves nothing");
        }
        for status in [204, 302, 400] {
            let expected = Outcome::Unrecognised { code: format!("http_{status}"), record_alone: false };
            assert_eq!(outcome(status, None, None, 1), expected);
        }
    }

    #[test]
    fn d2_a_type_is_cut_to_its_name() {
        for raw in [
            "InvalidLicenseException",
            "com.amazonaws.marketplace.metering#InvalidLicenseException",
            "InvalidLicenseException:http://internal.amazon.com/coral/com.amazonaws/",
            "aws.metering#InvalidLicenseException:http://internal.amazon.com/coral#x:y",
        ] {
            assert_eq!(kind(raw).as_deref(), Some("InvalidLicenseException"), "{raw}");
        }
        assert_eq!(kind(""), None);
        assert_eq!(kind("<html>"), None);
    }
}
