import { describe, expect, it } from 'vitest'
import { providerProfiles } from '../../src/providers/index.js'
import { isIssuerPattern, matchesIssuer } from '../../src/providers/match-issuer.js'
import { createProviderLookup } from '../../src/providers/provider-lookup.js'

const providerOf = createProviderLookup(Object.values(providerProfiles))

describe('the issuers of the built-in profiles', () => {
  it.each([
    ['Auth0', 'https://acme.auth0.com/'],
    ['Auth0', 'https://acme.eu.auth0.com/'],
    ['Okta', 'https://acme.okta.com'],
    ['Okta', 'https://acme.okta.com/oauth2/default'],
    ['Okta', 'https://acme.oktapreview.com/oauth2/aus1'],
    ['Keycloak', 'https://sso.example.com/realms/acme'],
    ['Keycloak', 'https://sso.example.com:8443/auth/realms/acme'],
    ['Microsoft Entra ID', 'https://login.microsoftonline.com/common/v2.0'],
    ['Microsoft Entra ID', 'https://login.microsoftonline.com/{tenantid}/v2.0'],
    ['Microsoft Entra ID', 'https://sts.windows.net/8f3c/'],
    ['Amazon Cognito', 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc'],
    ['GitHub', 'https://github.com/login/oauth'],
    ['GitHub', 'https://github.com'],
    ['Google', 'https://accounts.google.com'],
    ['Google', 'https://accounts.google.com/'],
    ['Linear', 'https://mcp.linear.app'],
    ['Linear', 'https://linear.app'],
    ['Notion', 'https://mcp.notion.com'],
    ['Atlassian', 'https://auth.atlassian.com/VCeDsk8Z'],
    ['Atlassian', 'https://cf.mcp.atlassian.com'],
    ['Slack', 'https://slack.com'],
    ['Slack', 'https://mcp.slack.com'],
    ['Figma', 'https://api.figma.com'],
    ['Supabase', 'https://api.supabase.com'],
    ['Supabase', 'https://abcdefgh.supabase.co/auth/v1'],
    ['Cal.com', 'https://mcp.cal.com'],
  ])('%s: %s', (name, issuer) => {
    expect(providerOf(issuer)?.name).toBe(name)
  })

  it.each([
    'https://auth0.com',
    'https://evilauth0.com',
    'https://auth0.com.evil.example',
    'http://acme.auth0.com',
    'https://github.com.evil.example/login/oauth',
    'https://evil.example/github.com',
    'https://gist.github.com',
    'https://cognito-idp.eu.west-1.amazonaws.com/pool',
    'https://evil.cognito-idp.eu-west-1.amazonaws.com',
    'https://s3.amazonaws.com/cognito-idp',
    'https://sso.example.com/realms',
    'https://sso.example.com/realms/acme/more',
    'https://docs.google.com',
    'http://accounts.google.com',
    'not a URL',
    '',
  ])('nobody’s: %s', (issuer) => {
    expect(providerOf(issuer)).toBeUndefined()
  })
})

describe('the forms of an issuer in a profile', () => {
  it.each([
    ['https://a.example', 'https://a.example/any/path', true],
    ['https://a.example/', 'https://a.example', true],
    ['https://a.example/t', 'https://a.example/t', true],
    ['https://a.example/t', 'https://a.example/t/', false],
    ['https://a.example/t', 'https://a.example', false],
    ['*.a.example', 'https://b.a.example', true],
    ['*.a.example', 'https://c.b.A.example/t', true],
    ['*.a.example', 'https://a.example', false],
    ['id.*.a.example', 'https://id.eu.a.example', true],
    ['id.*.a.example', 'https://id.a.example', false],
    ['id.*.a.example', 'https://id.x.eu.a.example', false],
    ['*.a.example/t/*', 'https://b.a.example/x/t/1', true],
    ['*.a.example/t/*', 'https://b.a.example/t', false],
    ['*/t/*', 'https://any.example/t/1/', true],
    ['*/t/*', 'http://localhost/t/1', true],
  ])('%s for %s: %s', (pattern, issuer, expected) => {
    expect([isIssuerPattern(pattern), matchesIssuer([pattern], issuer)]).toEqual([true, expected])
  })

  it.each([
    '*',
    '*.com',
    '*.*',
    'a.*',
    'https://*.a.example',
    '*a.example',
    'a.example',
    '/realms/*',
    '*/a?b*',
    '',
  ])('not %s', (pattern) => {
    expect(isIssuerPattern(pattern)).toBe(false)
  })
})
