import { quoteUntrusted } from './errors.js'
import { isObject } from './json-object.js'
import { suggest } from './suggest.js'

/** What is wrong at one place of a value. */
export interface Fault {
  readonly path: readonly string[]
  readonly message: string
  /** Whether the message is of a place's members, and does not go on from the place's name. */
  readonly ofMembers?: true
}

/** What a value has to be: of a kind, and without faults within it. */
export interface Schema<T = unknown> {
  is(value: unknown): value is T
  /** What is said of a value of another kind. */
  readonly otherwise: string
  /** What is wrong with a value of this kind, the first fault of a place first. */
  within(value: T): Fault[]
}

export type ValueOf<S extends Schema> = S extends Schema<infer T> ? T : never

export type Shape = Readonly<Record<string, Schema>>

export function faultsIn<T>(schema: Schema<T>, value: unknown): Fault[] {
  return schema.is(value) ? schema.within(value) : [{ path: [], message: schema.otherwise }]
}

export function kind<T>(is: (value: unknown) => value is T, otherwise: string): Schema<T> {
  return { is, otherwise, within: () => [] }
}

export const anything = kind((_value): _value is unknown => true, '')

export function literal<T>(values: readonly T[], otherwise: string): Schema<T> {
  return kind((value): value is T => values.includes(value as T), otherwise)
}

/** A further condition, looked at where there is no other fault. */
export function check<T>(schema: Schema<T>, isRight: (value: T) => boolean, message: string): Schema<T> {
  return refine(schema, (value) => (isRight(value) ? [] : [{ path: [], message }]))
}

/** Further faults, looked for where there is no other one. */
export function refine<S extends Schema>(schema: S, faultsOf: (value: ValueOf<S>) => Iterable<Fault>): S {
  return {
    ...schema,
    within(value: ValueOf<S>) {
      const faults = schema.within(value)
      return faults.length > 0 ? faults : [...faultsOf(value)]
    },
  }
}

export function optional<T>(schema: Schema<T>): Schema<T | undefined> {
  return {
    is: (value): value is T | undefined => value === undefined || schema.is(value),
    otherwise: schema.otherwise,
    within: (value) => (value === undefined ? [] : schema.within(value)),
  }
}

/** Of one kind or the other. */
export function either<A, B>(one: Schema<A>, other: Schema<B>, otherwise: string): Schema<A | B> {
  return {
    is: (value): value is A | B => one.is(value) || other.is(value),
    otherwise,
    within: (value) => (one.is(value) ? one.within(value) : other.within(value)),
  }
}

export function list<T>(item: Schema<T>, otherwise: string): Schema<readonly T[]> {
  return {
    // Whatever its items are: a fault of one has that one's place.
    is: (value): value is readonly T[] => Array.isArray(value),
    otherwise,
    within: (value) => value.flatMap((each, index) => at(String(index), faultsIn(item, each))),
  }
}

export function nonEmpty<T extends { readonly length: number }>(schema: Schema<T>): Schema<T> {
  return check(schema, ({ length }) => length > 0, 'must not be empty')
}

/** An object with any members. */
export function record<T>(member: Schema<T>, otherwise = NO_OBJECT): Schema<Readonly<Record<string, T>>> {
  return {
    is: (value): value is Readonly<Record<string, T>> => isObject(value),
    otherwise,
    within: (value) => Object.entries(value).flatMap(([name, each]) => at(name, faultsIn(member, each))),
  }
}

/** An object with these members, and others. */
export function openObject<S extends Shape>(shape: S, otherwise = NO_OBJECT): Schema<MembersOf<S>> {
  return {
    is: (value): value is MembersOf<S> => isObject(value),
    otherwise,
    within: (value) =>
      Object.entries(shape).flatMap(([name, member]) => at(name, faultsIn(member, value[name]))),
  }
}

/** An object without other members than these; a misspelt one is answered with the nearest. */
export function object<S extends Shape>(
  shape: S,
  otherwise = NO_OBJECT,
): Schema<MembersOf<S>> & { readonly shape: S } {
  const known = Object.keys(shape)
  const open = openObject(shape, otherwise)
  return {
    ...open,
    shape,
    within(value) {
      const unknown = Object.keys(value).filter((name) => !known.includes(name))
      const message = unknown.map((name) => unknownOption(name, known)).join(', ')
      const faults = open.within(value)
      return unknown.length === 0 ? faults : [...faults, { path: [], message, ofMembers: true }]
    },
  }
}

export type MembersOf<S extends Shape> = {
  readonly [Name in keyof S]: ValueOf<S[Name]>
}

const NO_OBJECT = 'has to be an object'

function at(name: string, faults: readonly Fault[]): Fault[] {
  return faults.map((fault) => ({ ...fault, path: [name, ...fault.path] }))
}

function unknownOption(name: string, known: readonly string[]): string {
  const meant = suggest(name, known)
  const hint = meant === undefined ? '' : ` (did you mean \`${meant}\`?)`
  return `unknown option \`${quoteUntrusted(name)}\`${hint}`
}
