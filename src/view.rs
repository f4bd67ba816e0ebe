//! Views: workers by name, each with the calls and values that the program gives it, and calls that go
//! to any worker with a free slot.
//!
//! What a view does are ordinary runs whose tasks have `targets`: each call takes a slot of its worker,
//! waits for one when none is free, and is found in the history. Values that are put on workers live in
//! these workers (see [`Context::get`](crate::Context::get)), and are lost with them: one that is started
//! again has none.

use std::sync::Arc;

use bytes::Bytes;
use dagrun_core::payload;
use dagrun_worker::function::TaskFn;
use dagrun_worker::function::shelf::{Pull, Push, Remove};
use futures::future::try_join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::cluster::Cluster;
use crate::dag::{ArrayHandle, Dag, Encoded, Handle, IntoArgs, MapSource};
use crate::mapped::Mapped;
use crate::report::WorkerStatus;
use crate::{Error, Pending};

/// Some workers, by name, in an order: all that is done through it is done on each of them.
///
/// ```
/// use dagrun::{Cluster, Context, ShelfError};
///
/// #[dagrun::task]
/// fn partial_sum(context: &Context) -> Result<u64, ShelfError> {
///     Ok(context.get::<Vec<u64>>("numbers")?.iter().sum())
/// }
///
/// # fn main() -> Result<(), dagrun::Error> {
/// let cluster = Cluster::builder().workers(2).slots(1).start()?;
/// let view = cluster.view_all().wait()?;
/// view.scatter("numbers", (1..=100).collect::<Vec<u64>>()).wait()?;
/// assert_eq!(view.apply(partial_sum, ()).wait()?, [1275, 3775]);
/// # Ok(()) }
/// ```
///
/// Those of [`Client::view_all`] are the workers that are present when something is asked of it: workers that
/// join later are among them from then on, without the values that were put on the others before. Those of
/// [`Client::view`] stay the same. When one of them was lost, what is asked of it waits until there is one of its
/// name again: [`Pending::timeout`] bounds that. The names of workers should not be labels of others, which
/// `targets` do not distinguish.
#[derive(Clone, Debug)]
pub struct View {
    client: Client,
    /// None: all that are present when something is asked.
    workers: Option<Arc<[String]>>,
}

impl Client {
    /// These workers, by name, as a [`View`]. One that is named twice counts once.
    ///
    /// ```no_run
    /// # fn example(client: &dagrun::Client) -> Result<(), dagrun::Error> {
    /// let view = client.view(&["w1", "w2"]).wait()?;
    /// view.push("threshold", &0.5).wait()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoWorker`] when one of them is not present, or none is named.
    pub fn view<S: AsRef<str>>(&self, workers: &[S]) -> Pending<View> {
        let mut names: Vec<String> = Vec::with_capacity(workers.len());
        for name in workers.iter().map(AsRef::as_ref) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let client = self.clone();
        self.workers().map(move |present| {
            let present: Vec<String> = present.into_iter().map(|worker| worker.name).collect();
            match names.iter().find(|name| !present.contains(name)) {
                Some(absent) => Err(Error::NoWorker { name: absent.clone(), present }),
                None => {
                    let workers = Some(some(names)?);
                    Ok(View { client, workers })
                }
            }
        })
    }

    /// All workers, in the order in which they joined; those that join later too.
    ///
    /// # Errors
    /// [`Error::NoWorker`] when there are none yet.
    pub fn view_all(&self) -> Pending<View> {
        let view = View { client: self.clone(), workers: None };
        view.workers().map(|_| Ok(view))
    }

    /// Calls that go to any worker with a free slot.
    ///
    /// How the scheduler picks among such workers is the cluster's:
    /// [`ClusterBuilder::scheme`](crate::ClusterBuilder::scheme), or `--scheme` of one that was started apart.
    #[must_use]
    pub fn load_balanced(&self) -> LoadBalanced {
        LoadBalanced { client: self.clone(), workers: None }
    }
}

impl Cluster {
    /// The workers that are present.
    pub fn workers(&self) -> Pending<Vec<WorkerStatus>> {
        self.client().workers()
    }

    /// These workers, by name; see [`Client::view`].
    ///
    /// # Errors
    /// [`Error::NoWorker`] when one of them is not present, or none is named.
    pub fn view<S: AsRef<str>>(&self, workers: &[S]) -> Pending<View> {
        self.client().view(workers)
    }

    /// All workers, in the order in which they joined; see [`Client::view_all`].
    ///
    /// # Errors
    /// [`Error::NoWorker`] when there are none yet.
    pub fn view_all(&self) -> Pending<View> {
        self.client().view_all()
    }

    /// Calls that go to any worker with a free slot; see [`Client::load_balanced`].
    #[must_use]
    pub fn load_balanced(&self) -> LoadBalanced {
        self.client().load_balanced()
    }
}

impl View {
    /// The names of its workers, in its order; never empty.
    ///
    /// # Errors
    /// [`Error::NoWorker`] when it is of all workers and none is present.
    pub fn workers(&self) -> Pending<Arc<[String]>> {
        if let Some(workers) = &self.workers {
            return Pending::new(std::future::ready(Ok(Arc::clone(workers))));
        }
        self.client.workers().map(|mut present| {
            present.sort_by_key(|worker| worker.id);
            some(present.into_iter().map(|worker| worker.name).collect())
        })
    }

    /// Calls a function once on each worker. The values come in the order of the view.
    ///
    /// # Errors
    /// [`Error::Failed`] as soon as it fails on one of them; the other calls go on.
    #[allow(clippy::needless_pass_by_value, reason = "as the other methods of views take theirs")]
    pub fn apply<F, A>(&self, function: F, args: A) -> Pending<Vec<F::Output>>
    where
        F: TaskFn,
        A: IntoArgs<F::Args> + Clone,
    {
        self.each(F::NAME, |dag| dag.task(function, args.clone()))
    }

    /// Calls a function for each item. Each worker gets a contiguous part of the items, all parts as long or one
    /// longer; the values come in the order of the items.
    ///
    /// ```
    /// #[dagrun::task]
    /// fn double(x: u64) -> u64 {
    ///     2 * x
    /// }
    ///
    /// # fn main() -> Result<(), dagrun::Error> {
    /// let cluster = dagrun::Cluster::builder().workers(2).slots(1).start()?;
    /// let view = cluster.view_all().wait()?;
    /// assert_eq!(view.map(double, 1..=3).wait()?, [2, 4, 6]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Failed`] as soon as a part has one that failed; the other calls go on.
    pub fn map<F, I>(&self, function: F, items: I) -> Pending<Vec<F::Output>>
    where
        F: TaskFn,
        I: IntoIterator,
        I::Item: Send + 'static,
        Vec<I::Item>: MapSource<F::Args>,
    {
        let items: Vec<I::Item> = items.into_iter().collect();
        if items.is_empty() {
            return Pending::new(std::future::ready(Ok(Vec::new())));
        }
        let record = move |dag: &Dag, workers: &[String]| {
            let parts = split(items, workers.len()).into_iter().zip(workers);
            let parts = parts.filter(|(part, _)| !part.is_empty());
            let map = |(part, worker): (Vec<I::Item>, &String)| {
                dag.map(function, part).targets([worker.as_str()])
            };
            Ok(parts.map(map).collect::<Vec<ArrayHandle<F::Output>>>())
        };
        let starting = self.client.submit_among(F::NAME, self.workers.clone(), record);
        Pending::new(async move {
            let (run, arrays) = starting.await?;
            let parts = try_join_all(arrays.iter().map(|array| run.results(array))).await?;
            Ok(parts.into_iter().flatten().collect())
        })
    }

    /// Puts a value under a name on each worker, in place of one that is there.
    ///
    /// It travels through the scheduler, once for each worker, and may have some tens of megabytes; larger
    /// data is better read by a function on each worker, which keeps it with
    /// [`Context::set`](crate::Context::set).
    ///
    /// # Errors
    /// [`Error::Unwritable`] when the value refuses to be written.
    pub fn push<T: Serialize + 'static>(&self, name: &str, value: &T) -> Pending<()> {
        match encode(name, value) {
            Ok(value) => {
                let name = name.to_owned();
                let put = self.each("push", |dag| dag.task(Push, (name.clone(), value.clone())));
                put.map(|_| Ok(()))
            }
            Err(error) => Pending::failed(error),
        }
    }

    /// The same as [`View::push`], by the name that goes with [`View::scatter`] and [`View::gather`].
    ///
    /// # Errors
    /// As [`View::push`].
    pub fn broadcast<T: Serialize + 'static>(&self, name: &str, value: &T) -> Pending<()> {
        self.push(name, value)
    }

    /// The values of this name, one from each worker, in the order of the view.
    ///
    /// # Errors
    /// [`Error::Failed`] when a worker has none, [`Error::Value`] when it is not a `T`.
    pub fn pull<T>(&self, name: &str) -> Pending<Vec<T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.each("pull", |dag| dag.task(Pull::<T>::default(), (name.to_owned(),)))
    }

    /// Puts a contiguous part of a sequence under a name on each worker, as a `Vec<T>`: all parts are as
    /// long or one longer, those of the last workers may be empty.
    ///
    /// # Errors
    /// As [`View::push`].
    pub fn scatter<T>(&self, name: &str, sequence: Vec<T>) -> Pending<()>
    where
        T: Serialize + Send + 'static,
    {
        let name = name.to_owned();
        let record = move |dag: &Dag, workers: &[String]| {
            let parts = split(sequence, workers.len()).into_iter().zip(workers);
            let put = parts.map(|(part, worker)| {
                let put = dag.task(Push, (name.clone(), encode(&name, &part)?));
                Ok(put.targets([worker.as_str()]))
            });
            put.collect::<Result<Vec<Handle<()>>, Error>>()
        };
        let starting = self.client.submit_among("scatter", self.workers.clone(), record);
        Pending::new(async move {
            let (run, handles) = starting.await?;
            try_join_all(handles.iter().map(|handle| run.result(handle))).await.map(drop)
        })
    }

    /// The sequence whose parts are under this name on the workers: what [`View::scatter`] has put there, or what
    /// functions have made of it, one part after another in the order of the view.
    ///
    /// # Errors
    /// As [`View::pull`], for a `Vec<T>`.
    pub fn gather<T>(&self, name: &str) -> Pending<Vec<T>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.pull::<Vec<T>>(name).map(|parts| Ok(parts.into_iter().flatten().collect()))
    }

    /// Removes the value of this name from each worker, and says where there was one.
    pub fn remove(&self, name: &str) -> Pending<Vec<bool>> {
        self.each("remove", |dag| dag.task(Remove, (name.to_owned(),)))
    }

    /// Calls that go to any worker of this view with a free slot; otherwise as
    /// [`Client::load_balanced`].
    #[must_use]
    pub fn load_balanced(&self) -> LoadBalanced {
        LoadBalanced { client: self.client.clone(), workers: self.workers.clone() }
    }

    /// A run with one call on each worker, whose values come in the order of the view.
    fn each<T>(&self, name: &str, task: impl Fn(&Dag) -> Handle<T>) -> Pending<Vec<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let dag = Dag::new(name);
        let Some(workers) = &self.workers else {
            let array = task(&dag).each_worker();
            let starting = self.client.submit(&dag);
            return Pending::new(async move { starting.await?.results(&array).await });
        };
        let handles: Vec<Handle<T>> =
            workers.iter().map(|worker| task(&dag).targets([worker.as_str()])).collect();
        let starting = self.client.submit(&dag);
        Pending::new(async move {
            let run = starting.await?;
            try_join_all(handles.iter().map(|handle| run.result(handle))).await
        })
    }
}

/// The names of workers, of which there is at least one.
pub(crate) fn some(workers: Vec<String>) -> Result<Arc<[String]>, Error> {
    match workers.is_empty() {
        true => Err(Error::NoWorker { name: String::new(), present: workers }),
        false => Ok(workers.into()),
    }
}

/// Calls that go to any worker with a free slot: of the whole cluster, or of a [`View`].
///
/// ```
/// #[dagrun::task]
/// fn double(x: u64) -> u64 {
///     2 * x
/// }
///
/// # fn main() -> Result<(), dagrun::Error> {
/// let cluster = dagrun::Cluster::builder().workers(2).slots(1).start()?;
/// let anywhere = cluster.load_balanced();
/// assert_eq!(anywhere.apply(double, (21,)).wait()?, 42);
/// let second = cluster.view(&["w2"]).wait()?.load_balanced();
/// let doubled: Result<Vec<u64>, _> = second.map(double, 1..=3).collect();
/// assert_eq!(doubled?, [2, 4, 6]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LoadBalanced {
    client: Client,
    /// None: all there are.
    workers: Option<Arc<[String]>>,
}

impl LoadBalanced {
    /// Calls a function once.
    ///
    /// # Errors
    /// [`Error::Failed`] when it fails, [`Error::Client`] when no worker has the function.
    pub fn apply<F, A>(&self, function: F, args: A) -> Pending<F::Output>
    where
        F: TaskFn,
        A: IntoArgs<F::Args>,
    {
        let dag = Dag::new(F::NAME);
        let mut handle = dag.task(function, args);
        if let Some(workers) = &self.workers {
            handle = handle.targets(workers.iter().map(String::as_str));
        }
        let starting = self.client.submit(&dag);
        Pending::new(async move {
            let run = starting.await?;
            run.result(&handle).await
        })
    }

    /// Calls a function for each item; see [`Client::map`].
    pub fn map<F, I>(&self, function: F, items: I) -> Mapped<F, I::IntoIter>
    where
        F: TaskFn,
        I: IntoIterator,
        Vec<I::Item>: MapSource<F::Args>,
    {
        Mapped::new(self.client.clone(), self.workers.clone(), function, items.into_iter())
    }
}

fn encode<T: Serialize + 'static>(name: &str, value: &T) -> Result<Encoded, Error> {
    let payload = payload::encode(value)
        .map_err(|source| Error::Unwritable { name: name.to_owned(), source })?;
    Ok(Encoded(Bytes::from(payload)))
}

/// So many contiguous parts, the first of which are one longer where it does not come out even.
fn split<T>(items: Vec<T>, parts: usize) -> Vec<Vec<T>> {
    let (length, longer) = (items.len() / parts, items.len() % parts);
    let mut items = items.into_iter();
    (0..parts)
        .map(|part| items.by_ref().take(length + usize::from(part < longer)).collect())
        .collect()
}
