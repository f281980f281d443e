//! AWS Marketplace Metering.
