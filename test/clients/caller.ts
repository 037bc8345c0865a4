/** A client as a person would use it; what it says is what it would show them. */
export interface Caller {
  /** With its version. */
  readonly name: string
  /** Whether it declares that it asks its person to open URLs. */
  readonly opensUrls: boolean
  /** Whether it speaks 2026-07-28 where the server does, and so goes on by itself once a URL has been visited. */
  readonly goesOn: boolean
  /** Whether it looks for OAuth metadata of the MCP endpoint before it is asked to sign in. */
  readonly probesMetadata: boolean
  /** Whether it lists the tools before each call, and calls none that is not there. */
  readonly callsListedToolsOnly: boolean
  start(at: CallerOptions): Promise<Conversation>
}

export interface CallerOptions {
  /** The MCP endpoint. */
  readonly url: string
  readonly headers: Record<string, string>
  /** A directory of its own, for what programs leave behind. */
  readonly home: string
  /** Called with the URL that a client of 2026-07-28 asks its person to open, before it goes on. */
  readonly visit: (url: string) => Promise<void>
}

export interface Conversation {
  /** It connects first where it is not connected, as its person would make it do. */
  listTools(): Promise<string>
  callTool(name: string, args?: Record<string, number>): Promise<string>
  isConnected(): boolean
  close(): Promise<void>
}
