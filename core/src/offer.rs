//! What a worker offers to attempts. The engine decides which attempts get it, and when.

/// What a worker offers: the same whether it is asked for, sent, counted or shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Attempts of one slot each that it runs at once.
    pub slots: u32,
    /// Labels that `targets` of tasks may name.
    pub labels: Vec<String>,
    /// Bytes of memory for its attempts; 0 when they are not known.
    pub memory: u64,
    /// Custom resources by name, each once.
    pub resources: Vec<(String, u64)>,
}

impl Offer {
    /// The amount of a custom resource.
    #[must_use]
    pub fn amount(&self, resource: &str) -> u64 {
        let found = self.resources.iter().find(|(name, _)| name == resource);
        found.map_or(0, |(_, amount)| *amount)
    }

    /// Sets the amount of a custom resource, whatever it was before.
    pub fn set_resource(&mut self, resource: impl Into<String>, amount: u64) {
        let resource = resource.into();
        match self.resources.iter_mut().find(|(name, _)| *name == resource) {
            Some((_, known)) => *known = amount,
            None => self.resources.push((resource, amount)),
        }
    }

    /// Whether an idle worker with this offer has as much as an attempt needs.
    #[must_use]
    pub fn suffices(&self, cpus: u32, memory: u64, resources: &[(String, u64)]) -> bool {
        cpus <= self.slots
            && memory <= self.memory
            && resources.iter().all(|(name, amount)| *amount <= self.amount(name))
    }
}

/// `8 GiB`; exact where a unit divides it, rounded down to a tenth where none does.
#[must_use]
pub fn amount_of_memory(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::amount_of_memory;

    #[test]
    fn memory_is_shown_in_units() {
        assert_eq!(amount_of_memory(8 << 30), "8 GiB");
        assert_eq!(amount_of_memory((8 << 30) + 1), "8.0 GiB");
        assert_eq!(amount_of_memory(3 << 29), "1.5 GiB");
        assert_eq!(amount_of_memory(1), "1 bytes");
    }
}
