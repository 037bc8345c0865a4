/** A map that forgets its oldest entry once it holds `limit`. What a remote party can add to must have a bound. */
export class BoundedMap<K, V> extends Map<K, V> {
  readonly #limit: number
  /** Stands behind what it has forgotten: a new one would look for the oldest through all that was. */
  #keys: Iterator<K> | undefined

  constructor(limit: number) {
    super()
    this.#limit = limit
  }

  /** Adds or replaces; the key counts as the newest. */
  override set(key: K, value: V): this {
    this.delete(key)
    super.set(key, value)
    if (this.size > this.#limit) this.#forgetOldest()
    return this
  }

  #forgetOldest(): void {
    this.#keys ??= this.keys()
    const oldest = this.#keys.next()
    if (oldest.done !== true) this.delete(oldest.value)
  }
}
