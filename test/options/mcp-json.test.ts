import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import { readMcpJson } from '../../src/read-mcp-json.js'
import { resolveOptions } from '../../src/resolve-options.js'
import { hostileJson, isPolluted, MANY } from '../support/hostile-json.js'
import { emptyDirectory, errorOf } from './support.js'

const url = 'https://mcp.example.com/mcp'

function directoryWith(content: unknown): string {
  const directory = emptyDirectory()
  writeFileSync(join(directory, 'mcp.json'), typeof content === 'string' ? content : JSON.stringify(content))
  return directory
}

describe('mcp.json', () => {
  it.each<[string, unknown, readonly object[]]>([
    ['without servers', { mcpServers: {} }, []],
    ['with a server', { mcpServers: { notion: { url } } }, [{ name: 'notion', url, path: '/mcp/notion' }]],
    ['with a bare URL', { mcpServers: { notion: url } }, [{ name: 'notion', url }]],
    ['with a path', { mcpServers: { notion: { url, path: '/notes' } } }, [{ path: '/notes' }]],
    [
      'with an oauthConfig',
      { mcpServers: { notion: { url, oauthConfig: { clientId: 'c', scopes: ['read'] } } } },
      [{ oauth: { clientId: 'c', scopes: 'read' } }],
    ],
    [
      'with programs, which are passed over',
      {
        mcpServers: {
          files: { command: 'npx', args: ['server-files'], env: { KEY: 'x' } },
          notion: { url },
          odd: { command: 'npx', ulr: 'x' },
          other: { type: 'stdio', disabled: true },
        },
      },
      [{ name: 'notion' }],
    ],
    [
      'with what hosts keep there, which is ignored',
      {
        $schema: 'https://example.com/schema.json',
        inputs: [],
        mcpServers: {
          notion: { url, type: 'http', headers: { 'X-A': 'b' }, disabled: false, timeout: 5, auth: {} },
        },
      },
      [{ name: 'notion', url }],
    ],
    ['with a byte order mark', `\uFEFF{"mcpServers":{"notion":"${url}"}}`, [{ name: 'notion' }]],
  ])('%s', (_, content, expected) => {
    const servers = readMcpJson(directoryWith(content))
    expect(servers).toHaveLength(expected.length)
    expect(servers).toMatchObject(expected)
  })

  it('that is absent has no servers', () => {
    expect(readMcpJson(emptyDirectory())).toEqual([])
  })

  it('is read where the servers option is absent, and only there', () => {
    const directory = directoryWith({ mcpServers: { notion: { url } } })
    expect(resolveOptions({ servers: undefined } as object, {}, directory).servers).toMatchObject([
      { name: 'notion' },
    ])
    expect(resolveOptions({ servers: {} }, {}, directory).servers).toEqual([])
    expect(resolveOptions({ servers: () => ({}) }, {}, directory).servers).toBeUndefined()
  })
})

describe('an mcp.json that cannot be used is refused by its name', () => {
  const oauth = (oauthConfig: unknown) => ({ mcpServers: { notion: { url, oauthConfig } } })

  it.each<[string, unknown, string]>([
    ['empty', '', ' is not JSON.'],
    ['cut off', '{"mcpServers": {\n  "notion": ', ' is not JSON.'],
    ['with a comment', '{\n  // servers\n}', ' is not JSON (line 2, column 3).'],
    ['with a comma too many', '{"mcpServers": {},}', ' is not JSON (line 1, column 19).'],
    ['null', 'null', ' has no "mcpServers" object.'],
    ['a list', [], ' has no "mcpServers" object.'],
    ['with servers by another name', { servers: {} }, ' has no "mcpServers" object.'],
    ['with a list of servers', { mcpServers: [{ url }] }, ' has no "mcpServers" object.'],
    [
      'with a number for a server',
      { mcpServers: { notion: 5 } },
      ': `mcpServers.notion` has to be a URL, or an object with url, path and oauthConfig.',
    ],
    [
      'with null for a server',
      { mcpServers: { notion: null } },
      ': `mcpServers.notion` has to be a URL, or an object with url, path and oauthConfig.',
    ],
    [
      'with a URL that is none',
      { mcpServers: { notion: { url: 'nowhere' } } },
      ': `mcpServers.notion.url` has to be an absolute https URL (http is for loopback alone), without user name and fragment.',
    ],
    [
      'with a URL of no value',
      { mcpServers: { notion: { url: null } } },
      ': `mcpServers.notion.url` has to be a string.',
    ],
    [
      'with a misspelt url',
      { mcpServers: { notion: { ulr: url } } },
      ': `mcpServers.notion.url` has to be a string; `mcpServers.notion`: unknown option `ulr` (did you mean `url`?).',
    ],
    [
      'with a misspelt oauthConfig',
      { mcpServers: { notion: { url, oauth_config: {} } } },
      ': `mcpServers.notion`: unknown option `oauth_config` (did you mean `oauthConfig`?).',
    ],
    [
      'with a misspelt member of oauthConfig',
      oauth({ client_id: 'c' }),
      ': `mcpServers.notion.oauthConfig`: unknown option `client_id` (did you mean `clientId`?).',
    ],
    [
      'with a name that cannot be',
      `{"mcpServers": {"__proto__": {"url": "${url}"}}}`,
      ': `mcpServers`: "__proto__" cannot be the name of a server.',
    ],
  ])('%s', (_, content, expected) => {
    const directory = directoryWith(content)
    const error = errorOf(() => readMcpJson(directory))
    expect(error.code).toBe('invalid_mcp_json')
    expect(error.message).toBe(join(directory, 'mcp.json') + expected)
    expect(error.fix).not.toBe(undefined)
  })

  it('without showing what is written in it', () => {
    const secret = 'hunter2'
    for (const text of [
      `{"clientSecret": ${secret}}`,
      `{"clientSecret": "${secret}" "x"}`,
      `{"clientSecret": "${secret}\n"}`,
    ]) {
      const error = errorOf(() => readMcpJson(directoryWith(text)))
      expect(error.message).toContain('is not JSON')
      expect(`${error.message}${error.stack}${String(error.cause)}`).not.toContain(secret)
    }
  })

  it('where it is a directory', () => {
    const directory = emptyDirectory()
    mkdirSync(join(directory, 'mcp.json'))
    expect(errorOf(() => readMcpJson(directory))).toMatchObject({
      code: 'invalid_mcp_json',
      message: `${join(directory, 'mcp.json')} cannot be read.`,
    })
  })
})

it('10,000 hostile files are read, or refused with an error that names the file and shows none of its secrets', () => {
  const directory = emptyDirectory()
  const entry = {
    url,
    path: '/notes',
    oauthConfig: { clientId: 'c', clientSecret: 'hunter2', scopes: ['read'] },
  }
  const files = fc.oneof(
    hostileJson({ mcpServers: { notion: entry } }),
    hostileJson(entry).map((text) => `{"mcpServers":{"notion":${text}}}`),
    hostileJson(entry.oauthConfig).map(
      (text) => `{"mcpServers":{"notion":{"url":"${url}","oauthConfig":${text}}}}`,
    ),
    hostileJson({ notion: entry, linear: url }).map((text) => `{"mcpServers":${text}}`),
  )
  const results = { read: 0, refused: 0 }
  fc.assert(
    fc.property(files, (text) => {
      // A new file each time: some file systems wait for the disk where one is overwritten.
      rmSync(join(directory, 'mcp.json'), { force: true })
      writeFileSync(join(directory, 'mcp.json'), text)
      try {
        const servers = readMcpJson(directory)
        results.read++
        return servers.every((server) => server.declared && /^https?:$/.test(new URL(server.url).protocol))
      } catch (error) {
        results.refused++
        if (!(error instanceof McpDcrError)) throw error
        return error.code === 'invalid_mcp_json' && !`${error.message} ${error.fix}`.includes('hunter2')
      }
    }),
    MANY,
  )
  expect(Math.min(results.read, results.refused)).toBeGreaterThan(500)
  expect(isPolluted()).toBe(false)
}, 60_000)
