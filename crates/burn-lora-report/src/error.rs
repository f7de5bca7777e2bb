//! What cannot be told.

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A plot cannot be drawn.
    #[error("the plot of {plot} cannot be drawn: {source}")]
    Plot {
        /// What it shows.
        plot: String,
        /// What the drawing library says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
