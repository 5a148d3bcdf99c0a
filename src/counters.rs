//! Counters that become metrics.

use std::fmt;

/// Defines a set of counters. This list is the only place that names a counter and its metric.
///
/// The log shows those that are not zero, by the names of their metrics.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$counter_doc:meta])* $counter:ident: $metric:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$counter_doc])* pub $counter: usize,)+
        }

        impl $name {
            /// Adds other counts.
            pub fn add(&mut self, other: Self) {
                $(self.$counter += other.$counter;)+
            }

            /// One metric per counter.
            pub fn metrics(self) -> Vec<$crate::metrics::Metric> {
                vec![$($crate::metrics::Metric::Count($metric, self.$counter),)+]
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::counters::write_counts(f, &[$(($metric, self.$counter),)+])
            }
        }
    };
}

pub(crate) use counters;

/// Writes `Keys=3 SetsEnqueued=1`, without the counts that are zero.
pub(crate) fn write_counts(
    f: &mut fmt::Formatter<'_>,
    counts: &[(&'static str, usize)],
) -> fmt::Result {
    let mut separator = "";
    for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
        write!(f, "{separator}{name}={count}")?;
        separator = " ";
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metric;

    counters! {
        Fruit { apples: "Apples", pears: "Pears", plums: "Plums", }
    }

    #[test]
    fn counts_add_up_and_zeros_are_metrics_but_not_text() {
        let mut fruit = Fruit::default();
        assert_eq!(fruit.to_string(), "");
        fruit.add(Fruit {
            apples: 1,
            plums: 2,
            ..Fruit::default()
        });
        fruit.add(Fruit {
            plums: 3,
            ..Fruit::default()
        });
        assert_eq!(fruit.to_string(), "Apples=1 Plums=5");
        let metrics = [("Apples", 1), ("Pears", 0), ("Plums", 5)];
        let metrics = metrics.map(|(name, count)| Metric::Count(name, count));
        assert_eq!(fruit.metrics(), metrics);
    }
}
