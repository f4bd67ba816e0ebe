//! What is known exactly: the prices of European options, and for Asian ones the difference between
//! call and put.

use std::f64::consts::SQRT_2;
use std::fmt;

use crate::{Contract, Price, Prices};

/// How far the prices of a run are from what is known.
#[derive(Debug)]
pub(crate) struct Check {
    /// How many European prices there are.
    pub(crate) european: usize,
    /// How many of these are within three standard errors.
    within: usize,
    /// The greatest distance of a European price, in standard errors.
    worst: f64,
    /// The greatest distance of an Asian difference, in standard errors.
    worst_difference: f64,
}

impl Check {
    /// Compares the prices of contracts in the same order.
    pub(crate) fn of(contracts: &[Contract], prices: &[Prices]) -> Check {
        let distances: Vec<f64> = contracts
            .iter()
            .zip(prices)
            .flat_map(|(contract, prices)| {
                let (call, put) = black_scholes(contract);
                [distance(prices.european_call, call), distance(prices.european_put, put)]
            })
            .collect();
        let differences = contracts.iter().zip(prices).map(|(contract, prices)| {
            let (call, put) = (prices.asian_call, prices.asian_put);
            // A path pays for the call or for the put, so their errors add up at most.
            let difference = Price { value: call.value - put.value, error: call.error + put.error };
            distance(difference, asian_difference(contract))
        });
        Check {
            european: distances.len(),
            within: distances.iter().filter(|&&distance| distance <= 3.0).count(),
            worst: distances.iter().copied().fold(0.0, f64::max),
            worst_difference: differences.fold(0.0, f64::max),
        }
    }

    /// Whether the prices are as near as chance lets them be. Of normally distributed errors,
    /// 0.27 % are beyond three standard errors, and one in 1.7 million beyond five.
    pub(crate) fn holds(&self) -> bool {
        self.within * 100 >= self.european * 99 && self.worst < 5.0 && self.worst_difference < 5.0
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "European: {} of {} prices within 3 standard errors of Black and Scholes, the worst {:.2}",
            self.within, self.european, self.worst
        )?;
        write!(
            formatter,
            "Asian: call minus put is within {:.2} standard errors of what it must be",
            self.worst_difference
        )
    }
}

/// How many standard errors a price is from the true one.
fn distance(price: Price, truth: f64) -> f64 {
    // Without any error the two may still differ by what was rounded.
    (price.value - truth).abs() / price.error.max(1e-9)
}

/// The prices of the European call and put.
pub(crate) fn black_scholes(contract: &Contract) -> (f64, f64) {
    let Contract { spot, strike, volatility, rate, .. } = *contract;
    let upper = ((spot / strike).ln() + rate + volatility.powi(2) / 2.0) / volatility;
    let lower = upper - volatility;
    let owed = strike * (-rate).exp();
    (spot * normal(upper) - owed * normal(lower), owed * normal(-lower) - spot * normal(-upper))
}

/// The price of the Asian call without that of the put: the mean over the days is sure to be paid,
/// and the strike to be owed.
fn asian_difference(contract: &Contract) -> f64 {
    let day = 1.0 / f64::from(contract.days);
    let sum: f64 = (1..=contract.days).map(|at| (contract.rate * f64::from(at) * day).exp()).sum();
    (contract.spot * sum * day - contract.strike) * (-contract.rate).exp()
}

/// The cumulative normal distribution.
fn normal(x: f64) -> f64 {
    libm::erfc(-x / SQRT_2) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(strike: f64, volatility: f64) -> Contract {
        Contract { spot: 100.0, strike, volatility, rate: 0.05, days: 4, paths: 0, seed: 0 }
    }

    #[test]
    fn black_and_scholes_give_the_prices_of_the_textbook() {
        // Hull, Options, Futures and Other Derivatives: 42, 40, 10 %, 20 %, half a year.
        let half = 0.5f64;
        let hull = Contract {
            spot: 42.0,
            strike: 40.0,
            volatility: 0.2 * half.sqrt(),
            rate: 0.1 * half,
            ..contract(0.0, 0.0)
        };
        let (call, put) = black_scholes(&hull);
        assert!((call - 4.76).abs() < 0.005 && (put - 0.81).abs() < 0.005, "{call} {put}");
        // The contract of the notebook that this example is after.
        let (call, put) = black_scholes(&contract(100.0, 0.25));
        assert!((call - 12.3360).abs() < 1e-4 && (put - 7.4589).abs() < 1e-4, "{call} {put}");
    }

    #[test]
    fn the_asian_difference_is_that_of_a_forward() {
        let mean = (1..=4).map(|at| (0.05 * f64::from(at) / 4.0).exp()).sum::<f64>() / 4.0;
        let expected = (100.0 * mean - 90.0) / 0.05f64.exp();
        assert!((asian_difference(&contract(90.0, 0.3)) - expected).abs() < 1e-12);
    }

    #[test]
    fn a_price_that_is_off_is_found() {
        let contract = contract(100.0, 0.25);
        let (call, put) = black_scholes(&contract);
        let price = |value| Price { value, error: 0.01 };
        let asian = asian_difference(&contract);
        let prices = |by: f64| Prices {
            european_call: price(call + by),
            european_put: price(put),
            asian_call: price(10.0 + asian),
            asian_put: price(10.0),
        };
        let contracts = [contract.clone()];
        assert!(Check::of(&contracts, &[prices(0.02)]).holds());
        assert!(!Check::of(&contracts, &[prices(0.06)]).holds());
    }
}
