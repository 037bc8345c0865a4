import { escapeHtml } from './html.js'
import { CONNECTED_SCRIPT, layout } from './layout.js'

/** Shown after a sign-in that did not begin on a page of the gateway. */
export function connectedPage(server: string): string {
  return layout(
    `Connected to ${server}`,
    `<p role="status">You are signed in. You can close this window and go on where you came from.</p>
<div class="actions">
<button class="button" id="close" type="button">Close window</button>
<a class="button quiet" href="../connections">All connections</a>
</div>
<script type="module">${CONNECTED_SCRIPT}</script>`,
    ` data-server="${escapeHtml(server)}"`,
  )
}
