/** A map that forgets its oldest entry once it holds `limit`. What a remote party can add to must have a bound. */
export class BoundedMap<K, V> extends Map<K, V> {
  readonly #limit: number

  constructor(limit: number) {
    super()
    this.#limit = limit
  }

  /** Adds or replaces; the key counts as the newest. */
  override set(key: K, value: V): this {
    this.delete(key)
    super.set(key, value)
    const oldest = this.keys().next()
    if (this.size > this.#limit && oldest.done !== true) this.delete(oldest.value)
    return this
  }
}
