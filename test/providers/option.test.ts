import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { providerProfiles } from '../../src/index.js'
import { providerProfileSchema } from '../../src/provider-profile-schema.js'
import { errorOf, resolved } from '../options/support.js'

const OWN = { name: 'Example', issuers: ['https://as.example'] }
const own = (changes: object): unknown => ({ providers: [{ ...OWN, ...changes }] })

const ISSUER =
  'has to be an https URL (http is for loopback alone), or a host such as *.example.com with an end of the path or without'

describe('the option providers', () => {
  it('is tried before the built-in profiles, in its own order', () => {
    const second = { ...providerProfiles.auth0, issuers: ['https://login.example.com/'] }
    const { providers } = resolved({ providers: [OWN, second] })
    expect(providers).toEqual([OWN, second, ...Object.values(providerProfiles)])
  })

  it('takes what the built-in profiles are', () => {
    const all = Object.values(providerProfiles)
    expect(resolved({ providers: all }).providers).toEqual([...all, ...all])
  })

  it('is apart from what was given', () => {
    const given = { ...OWN, issuers: ['https://as.example'] }
    const { providers } = resolved({ providers: [given] })
    given.issuers[0] = 'https://evil.example'
    expect(providers[0]?.issuers).toEqual(['https://as.example'])
  })

  it.each<[unknown, string]>([
    [{ providers: {} }, '`providers` has to be a list of provider profiles'],
    [{ providers: ['Auth0'] }, '`providers.0` has to be a provider profile'],
    [{ providers: [{ name: 'x' }] }, '`providers.0.issuers` has to be a list of issuers'],
    [own({ name: '' }), '`providers.0.name` must not be empty'],
    [own({ issuers: [] }), '`providers.0.issuers` must not be empty'],
    ...[
      'as.example',
      'http://as.example',
      'https://as.example/?a',
      '*',
      '*.com',
      '',
      'javascript:alert(1)',
    ].map((issuer): [unknown, string] => [
      own({ issuers: [issuer] }),
      `\`providers.0.issuers.0\` ${issuer === '' ? 'must not be empty' : ISSUER}`,
    ]),
    [own({ issuer: 'https://as.example' }), 'unknown option `issuer` (did you mean `issuers`?)'],
    ...['there', '//evil.example', 'https://evil.example', '/a?b'].map((path): [unknown, string] => [
      own({ metadataPath: path }),
      '`providers.0.metadataPath` has to be a path that starts with "/" or with "{path}/"',
    ]),
    [
      own({ registrationPath: 'https://evil.example' }),
      '`providers.0.registrationPath` has to be a path that starts with "/"',
    ],
    [
      own({ allowMissingPkceMetadata: 'yes' }),
      '`providers.0.allowMissingPkceMetadata` has to be true or false',
    ],
    [own({ dynamicRegistration: true }), '`providers.0.dynamicRegistration` has to be false, or left away'],
    [own({ initialAccessToken: 'hush' }), '`providers.0.initialAccessToken` has to be an object'],
    [own({ manualRegistration: { steps: [] } }), '`providers.0.manualRegistration.steps` must not be empty'],
    [
      own({ manualRegistration: { steps: ['a'], documentation: 'x' } }),
      '`providers.0.manualRegistration.documentation` has to be an https URL',
    ],
    [
      own({ tokenEndpointAuthMethod: 'none' }),
      '`providers.0.tokenEndpointAuthMethod` has to be client_secret_basic or client_secret_post',
    ],
    [
      own({ authorizationParams: { state: 'x' } }),
      '`providers.0.authorizationParams.state` is set by the flow itself; remove it',
    ],
    [own({ resource: true }), '`providers.0.resource` has to be an absolute URI without fragment, or false'],
    [own({ refusals: [{ says: 'x' }] }), '`providers.0.refusals.0.hint` has to be a string'],
    [
      own({ issuers: ['*.as.example'], metadataIssuers: ['https://as.example'] }),
      '`providers.0.metadataIssuers` is possible only where all issuers are named, without *',
    ],
    [
      own({ metadataIssuers: ['*.as.example'] }),
      '`providers.0.metadataIssuers` is possible only where all issuers are named, without *',
    ],
    [
      own({ issuers: ['*/t/*'], allowMissingPkceMetadata: true }),
      '`providers.0.allowMissingPkceMetadata` is not possible for the issuers of any host',
    ],
    [
      own({ issuers: ['*/t/*'], resource: false }),
      '`providers.0.resource` cannot be false for the issuers of any host',
    ],
    [
      {
        servers: {
          notes: {
            url: 'https://mcp.example.com',
            oauthConfig: { dynamicRegistration: false, registrationUrl: 'https://as.example/register' },
          },
        },
      },
      '`servers.notes.oauthConfig.registrationUrl` has no use: dynamicRegistration is false',
    ],
    [
      { servers: { notes: { url: 'https://mcp.example.com', oauthConfig: { dynamicRegistration: 'no' } } } },
      '`servers.notes.oauthConfig.dynamicRegistration` has to be true or false',
    ],
  ])('%o is refused', (options, fault) => {
    const { code, message } = errorOf(() => resolved(options))
    expect([code, message]).toEqual(['invalid_options', expect.stringContaining(fault)])
    expect(message).not.toContain('hush')
  })
})

describe('the built-in profiles', () => {
  it.each(Object.entries(providerProfiles))(
    '%s has only placeholders that are filled in',
    (_key, profile) => {
      const placeholders = JSON.stringify(profile).match(/\{\w+\}/g) ?? []
      const known = ['{redirectUri}', '{baseUrl}', '{resource}', '{path}']
      expect(placeholders.filter((text) => !known.includes(text))).toEqual([])
    },
  )

  it.each(Object.entries(providerProfiles))('%s has the callback URL in its steps', (_key, profile) => {
    if (!('manualRegistration' in profile)) return
    expect(profile.manualRegistration.steps.join('\n')).toContain('{redirectUri}')
  })
})

describe('docs/providers.md', () => {
  const document = readFileSync(join(import.meta.dirname, '../../docs/providers.md'), 'utf8')

  it.each(Object.values(providerProfiles))('has a row and a section of $name', ({ name, ...profile }) => {
    expect(document).toContain(`| [${name}](#`)
    expect(document).toContain(`\n## ${name}\n`)
    const section = document.slice(document.indexOf(`\n## ${name}\n`) + 4).split('\n## ', 1)[0] ?? ''
    for (const issuer of profile.issuers) {
      const { host } = issuer.includes('*') ? { host: issuer.replace(/^.*\*/, '') } : new URL(issuer)
      expect(section).toContain(host)
    }
  })

  it.each(Object.keys(providerProfileSchema.shape))('has a row of the field %s', (field) => {
    expect(document).toMatch(new RegExp(`\\| \`${field}\` +\\|`))
  })
})

describe('src', () => {
  // The project's own address, for the documentation of an error.
  const OWN_ADDRESS = 'https://github.com/mcp-dcr/'
  // Linear and Notion are words too: with a small letter they are taken for these.
  const NAMES = [
    /auth0|okta|keycloak|\bentra\b|microsoft|azure|aadsts|cognito|amazon|github|google/i,
    /atlassian|\bslack\b|figma|supabase|cal\.com|linear\.app|notion\.com/i,
    /\bLinear\b|\bNotion\b/,
  ]
  const isNamed = (line: string): boolean => NAMES.some((name) => name.test(line.replaceAll(OWN_ADDRESS, '')))

  it('names no provider outside of src/providers: the flow reads profiles', () => {
    const root = join(import.meta.dirname, '../../src')
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.endsWith('.ts') && !path.startsWith('providers'),
    )
    expect(files.length).toBeGreaterThan(50)
    const named = files.flatMap((path) =>
      readFileSync(join(root, path), 'utf8')
        .split('\n')
        .flatMap((line, i) => (isNamed(line) ? [`${path}:${i + 1} ${line}`] : [])),
    )
    expect(named).toEqual([])
    expect(['as GitHub does', 'if (host === "linear.app")', 'linear time'].map(isNamed)).toEqual([
      true,
      true,
      false,
    ])
  })
})
