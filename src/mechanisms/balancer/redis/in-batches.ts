/** So many at a time: milliseconds of work, and far fewer commands than may wait for their answers. */
const BATCH = 50

/**
 * Does something to each of many, some at a time and the next when those are done, so that neither the event loop nor Redis
 * is taken up by it. Ends early once `goesOn` says no.
 */
export async function inBatches<T>(
  items: readonly T[],
  act: (item: T) => Promise<void>,
  goesOn: () => boolean,
): Promise<void> {
  for (let at = 0; at < items.length && goesOn(); at += BATCH)
    await Promise.all(items.slice(at, at + BATCH).map(act))
}
