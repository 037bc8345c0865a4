import { exportJWK, generateKeyPair, type JSONWebKeySet, type JWK } from 'jose'

interface SigningKeys {
  /** With the private part. */
  readonly private: { keys: JWK[] }
  readonly public: JSONWebKeySet
}

let keys: Promise<SigningKeys> | undefined

/** One ES256 key per process: all authorization servers of a test run sign with it. */
export function signingKeys(): Promise<SigningKeys> {
  return (keys ??= generate())
}

async function generate(): Promise<SigningKeys> {
  const pair = await generateKeyPair('ES256', { extractable: true })
  const common = { kid: 'test-key', alg: 'ES256', use: 'sig' }
  return {
    private: { keys: [{ ...(await exportJWK(pair.privateKey)), ...common }] },
    public: { keys: [{ ...(await exportJWK(pair.publicKey)), ...common }] },
  }
}
