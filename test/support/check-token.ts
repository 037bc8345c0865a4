import { jwtVerify, type JWTVerifyGetKey } from 'jose'

export interface TokenRules {
  readonly issuer: string
  readonly resource: string
  readonly keys: JWTVerifyGetKey
  /** Epoch milliseconds. */
  readonly clock: () => number
  /** The `typ` of the JWT's header. Defaults to `at+jwt` (RFC 9068 §2.1). */
  readonly typ?: string
}

/** The SDK's `AuthInfo`, with the subject. */
export interface CheckedToken {
  readonly token: string
  readonly clientId: string
  readonly scopes: string[]
  /** Epoch seconds. */
  readonly expiresAt: number
  readonly extra: { readonly subject: string }
}

/** A JWT access token of this issuer, for this resource, not expired; undefined if it is anything else. */
export async function checkToken(token: string, rules: TokenRules): Promise<CheckedToken | undefined> {
  try {
    const { payload } = await jwtVerify(token, rules.keys, {
      issuer: rules.issuer,
      audience: rules.resource,
      typ: rules.typ ?? 'at+jwt',
      requiredClaims: ['exp', 'sub'],
      currentDate: new Date(rules.clock()),
    })
    return {
      token,
      clientId: String(payload.client_id),
      scopes: String(payload.scope ?? '').split(' '),
      expiresAt: payload.exp ?? 0,
      extra: { subject: payload.sub ?? '' },
    }
  } catch {
    return undefined
  }
}
