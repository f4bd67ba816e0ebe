//! The four prices over strike and volatility, as filled contours.

use std::path::Path;

use dagrun_example_support::plot::{self, Axes, Contours, Grid, PlotError, grouped};

use crate::{Contract, Price, Prices};

/// A title, and which of the four prices it is for.
type Panel = (&'static str, fn(&Prices) -> Price);

/// Draws the prices of contracts in the order of `contracts`: all volatilities of each strike.
pub(crate) fn draw(
    path: &Path,
    contracts: &[Contract],
    prices: &[Prices],
) -> Result<(), PlotError> {
    let (Some(first), Some(last)) = (contracts.first(), contracts.last()) else { return Ok(()) };
    let points = contracts.len().isqrt();
    let title = "European and Asian options by Monte Carlo";
    let below = format!(
        "a share at ${}, {} % interest, one year of {} days; {} points of {} paths each",
        first.spot,
        first.rate * 100.0,
        first.days,
        contracts.len(),
        grouped(first.paths)
    );
    let panels: [Panel; 4] = [
        ("European call", |prices| prices.european_call),
        ("European put", |prices| prices.european_put),
        ("Asian call", |prices| prices.asian_call),
        ("Asian put", |prices| prices.asian_put),
    ];
    plot::save(path, (940, 800), |area| {
        let areas = plot::titled(area, title, &below)?.split_evenly((2, 2));
        for (area, (title, price)) in areas.iter().zip(panels) {
            let grid = Grid {
                values: prices
                    .chunks(points)
                    .map(|row| row.iter().map(|prices| price(prices).value).collect())
                    .collect(),
            };
            let axes = Axes {
                title,
                x: first.volatility * 100.0..last.volatility * 100.0,
                y: first.strike..last.strike,
                x_label: "volatility (% in a year)",
                y_label: Some("strike (dollars)"),
                digits: (0, 0),
                labels: (7, 6),
            };
            Contours { axes, grid: &grid, unit: "price (dollars)" }.draw(area)?;
        }
        Ok(())
    })
}
