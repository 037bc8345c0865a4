import { ERROR_KINDS, type McpDcrError } from '../errors.js'
import { escapeHtml } from './html.js'
import { layout } from './layout.js'

/**
 * What happened, what to do, and a way to go on where that makes sense.
 *
 * @param label says where `retryUrl` leads. Defaults to `Try again`.
 */
export function errorPage(error: McpDcrError, retryUrl: string | undefined, label = 'Try again'): string {
  const fix = error.fix === undefined ? '' : `<p class="lines">${escapeHtml(error.fix)}</p>`
  const retry = retryUrl === undefined ? '' : `<a class="button" href="${escapeHtml(retryUrl)}">${label}</a>`
  return layout(
    ERROR_KINDS[error.code].title,
    `<p role="alert">${escapeHtml(error.message)}</p>
${fix}
${retry}
<p class="muted">Error code: ${error.code}</p>`,
  )
}
