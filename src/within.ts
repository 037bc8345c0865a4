/**
 * What work comes to, unless it takes longer: then it goes on by itself, and nobody waits for it.
 *
 * @param tooLate makes the error that is thrown then
 */
export async function within<T>(
  milliseconds: number,
  work: () => T | Promise<T>,
  tooLate: () => Error,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(tooLate()), milliseconds)
  })
  try {
    // A race handles what the loser rejects with later.
    return await Promise.race([work(), late])
  } finally {
    clearTimeout(timer)
  }
}
