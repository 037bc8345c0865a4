/**
 * Does something for each item, for so many at the same time: the next one begins when one is done.
 *
 * @throws the first failure; nothing more is begun then
 */
export async function forEachOf<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T, index: number) => Promise<unknown>,
): Promise<void> {
  const queue = items.entries()
  let hasFailed = false
  // They share the iterator, so that each takes the next one that nobody has taken.
  const workers = Array.from({ length: atOnce }, async () => {
    for (const [index, item] of queue) {
      if (hasFailed) return
      await work(item, index).catch((error: unknown) => {
        hasFailed = true
        throw error
      })
    }
  })
  await Promise.all(workers)
}
