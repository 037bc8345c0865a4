import fc from 'fast-check'
import { describe, it } from 'vitest'
import { McpDcrError } from '../../src/errors.js'
import { connectedPage } from '../../src/pages/connected-page.js'
import { connectionsPage, type ConnectionView } from '../../src/pages/connections-page.js'
import { MANY } from '../support/hostile-json.js'
import { errorPage } from '../../src/pages/error-page.js'

const BASE: ConnectionView = {
  server: 'notes',
  url: 'https://mcp.example.com/mcp',
  state: 'error',
  reason: 'registration_failed',
  fix: 'Do this.',
  scope: 'read',
  expiresAt: 2,
  connectedAt: 1,
  refreshable: true,
  unfinished: true,
  authorizationUrl: 'https://gateway.example.com/api/oauth/authorize/notes',
  actionUrl: 'https://gateway.example.com/api/oauth/connections/notes',
}

const connections = (changes: Partial<ConnectionView>): string =>
  connectionsPage([{ ...BASE, ...changes }], 3)
const error = (message: string, fix: string, retryUrl?: string): string =>
  errorPage(new McpDcrError('registration_failed', message, { fix }), retryUrl)

/** Each page, with a text in one place of it. */
const PLACES: [string, (text: string) => string][] = [
  ['the server’s name, connected', (text) => connectedPage(text)],
  ['an error’s message', (text) => error(text, 'Do this.')],
  ['an error’s fix', (text) => error('It failed.', text)],
  ['where to try again', (text) => error('It failed.', 'Do this.', `https://gateway.example.com/${text}`)],
  ['the server’s name', (text) => connections({ server: text })],
  ['the server’s URL', (text) => connections({ url: text })],
  ['the reason', (text) => connections({ reason: text })],
  ['what to do', (text) => connections({ fix: text })],
  // Spaces are between scopes.
  ['a scope', (text) => connections({ scope: `x${text.replaceAll(' ', '')}` })],
  ['where to connect', (text) => connections({ authorizationUrl: text })],
  ['where to disconnect', (text) => connections({ actionUrl: text })],
]

/** What makes elements and attributes of text. */
const markupOf = (page: string): string => page.replace(/[^<>"']/g, '')

describe('text in a page', () => {
  const texts = fc.oneof(
    fc
      .array(
        fc.constantFrom(
          ...[
            '<',
            '>',
            '"',
            "'",
            '`',
            '&',
            '=',
            '/',
            '\\',
            ' ',
            '\n',
            '\0',
            '&lt;',
            '&#34;',
            '\u2028',
            '\ufeff',
            '\ud800',
            '<!--',
            '-->',
            ']]>',
            '<script>',
            '</script>',
            '</style>',
            ' onerror=',
            'javascript:',
            '${x}',
            '{{x}}',
            '$&',
            "$'",
            '$1',
          ],
        ),
        { maxLength: 12 },
      )
      .map((all) => all.join('')),
    fc.string({ unit: 'binary' }),
  )

  it.each(PLACES)('becomes no markup in place of %s', (_, pageWith) => {
    const plain = markupOf(pageWith('x'))
    fc.assert(
      fc.property(texts, (text) => markupOf(pageWith(text)) === plain),
      { ...MANY, numRuns: 1000 },
    )
  })
})
