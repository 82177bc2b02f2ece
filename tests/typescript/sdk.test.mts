// The official TypeScript SDK against a running server (tests/conformance/test_typescript.py starts it).

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import Anthropic, { ConflictError, NotFoundError, toFile } from "@anthropic-ai/sdk";

const { HECATON_URL: baseURL, HECATON_KEY: apiKey, HECATON_MARK: mark, HECATON_MODEL: model } = process.env;
assert(baseURL && apiKey && mark && model);
const client = new Anthropic({ baseURL, apiKey, maxRetries: 0, timeout: 20_000 });
const beta = client.beta;
const unique = () => `typescript-${process.hrtime.bigint()}`;
const hello = { type: "user.message" as const, content: [{ type: "text" as const, text: "hi" }] };

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of pages) found.push(each);
  return found;
}

async function stage() {
  const agent = await beta.agents.create({
    name: "actor", model, system: mark, tools: [{ type: "agent_toolset_20260401" }],
  });
  return { agent, environment: await beta.environments.create({ name: unique() }) };
}

test("agents have versions and are archived", async () => {
  const made = await beta.agents.create({ name: "a", model, metadata: { team: "x" } });
  const changed = await beta.agents.update(made.id, { version: 1, name: "b" });
  assert.deepEqual([changed.name, changed.version, changed.metadata], ["b", 2, { team: "x" }]);
  assert.equal((await beta.agents.retrieve(made.id, { version: 1 })).name, "a");
  assert.deepEqual((await all(beta.agents.versions.list(made.id, { limit: 1 }))).map((each) => each.version), [2, 1]);
  await assert.rejects(beta.agents.update(made.id, { version: 1, name: "c" }), ConflictError);
  assert((await beta.agents.archive(made.id)).archived_at);
});

test("environments are made, changed, listed and deleted", async () => {
  const name = unique();
  const networking = { type: "limited" as const, allowed_hosts: ["example.com"] };
  const made = await beta.environments.create({ name, config: { type: "cloud", networking } });
  assert.equal((await beta.environments.update(made.id, { description: "d" })).description, "d");
  assert((await all(beta.environments.list())).some((each) => each.name === name));
  assert.equal((await beta.environments.delete(made.id)).type, "environment_deleted");
  await assert.rejects(beta.environments.retrieve(made.id), NotFoundError);
});

test("a session runs a tool and streams its events", async () => {
  const { agent, environment } = await stage();
  const session = await beta.sessions.create({ agent: agent.id, environment_id: environment.id, title: "t" });
  assert.equal(session.status, "idle");
  const stream = await beta.sessions.events.stream(session.id);
  await beta.sessions.events.send(session.id, { events: [hello] });
  const seen: string[] = [];
  let said = "";
  for await (const event of stream) {
    // A message is streamed when it is queued, and again when it is processed.
    if ("processed_at" in event && event.processed_at) seen.push(event.type);
    if (event.type === "agent.message") said += event.content.map((each) => ("text" in each ? each.text : "")).join("");
    if (event.type === "session.status_idle") break;
  }
  assert.equal(said, "done");
  for (const kind of ["session.status_running", "agent.tool_use", "agent.tool_result", "session.usage"])
    assert(seen.includes(kind), `${kind} in ${seen}`);
  const log = await all(beta.sessions.events.list(session.id, { limit: 3 }));
  assert.equal(new Set(log.map((each) => each.id)).size, log.length);
  assert.deepEqual(log.map((each) => each.type), seen);
  const [thread] = await all(beta.sessions.threads.list(session.id));
  assert.equal((await beta.sessions.threads.retrieve(thread.id, { session_id: session.id })).status, "idle");
  assert((await all(beta.sessions.list({ agent_id: agent.id }))).some((each) => each.id === session.id));
  assert.equal((await beta.sessions.archive(session.id)).status, "terminated");
  await assert.rejects(beta.sessions.events.send(session.id, { events: [hello] }), ConflictError);
  assert.equal((await beta.sessions.delete(session.id)).type, "session_deleted");
});

test("files are uploaded, mounted and deleted", async () => {
  const file = await beta.files.upload({ file: await toFile(Buffer.from("notes"), "notes.txt", { type: "text/plain" }) });
  assert.deepEqual([file.filename, file.mime_type, file.size_bytes], ["notes.txt", "text/plain", 5]);
  assert.equal((await beta.files.retrieveMetadata(file.id)).id, file.id);
  const { agent, environment } = await stage();
  const session = await beta.sessions.create({ agent: agent.id, environment_id: environment.id });
  const added = await beta.sessions.resources.add(session.id, { type: "file", file_id: file.id });
  assert.deepEqual((await all(beta.sessions.resources.list(session.id))).map((each) => each.type), ["file"]);
  assert((await all(beta.files.list({ scope_id: session.id }))).length === 1);
  await beta.sessions.resources.delete(added.id, { session_id: session.id });
  assert.equal((await beta.files.delete(file.id)).type, "file_deleted");
});

test("memory stores keep memories and their versions", async () => {
  const store = await beta.memoryStores.create({ name: "notes" });
  const made = await beta.memoryStores.memories.create(store.id, { path: "/a.md", content: "one" });
  await beta.memoryStores.memories.update(made.id, { memory_store_id: store.id, content: "two" });
  const changed = await beta.memoryStores.memories.retrieve(made.id, { memory_store_id: store.id, view: "full" });
  assert.equal(changed.content, "two");
  const versions = await all(beta.memoryStores.memoryVersions.list(store.id, { memory_id: made.id }));
  assert.deepEqual(versions.map((each) => each.operation), ["modified", "created"]);
  await beta.memoryStores.memoryVersions.redact(versions[1].id, { memory_store_id: store.id });
  const again = beta.memoryStores.memories.create(store.id, { path: "/a.md", content: "three" });
  await assert.rejects(again, ConflictError);
  await beta.memoryStores.delete(store.id);
});

test("skills are uploaded, and downloaded as an archive", async () => {
  const name = unique();
  const files = async (description: string) => [
    await toFile(Buffer.from(`---\nname: ${name}\ndescription: ${description}\n---\nRun.\n`), `${name}/SKILL.md`),
  ];
  const skill = await beta.skills.create({ files: await files("First.") });
  const second = await beta.skills.versions.create(skill.id, { files: await files("Second.") });
  assert.equal((await beta.skills.versions.retrieve("latest", { skill_id: skill.id })).description, "Second.");
  const archive = await beta.skills.versions.download(second.id, { skill_id: skill.id });
  assert.equal(Buffer.from(await archive.arrayBuffer()).subarray(0, 2).toString(), "PK");
  assert.equal((await beta.skills.delete(skill.id)).type, "skill_deleted");
});

test("deployments are scheduled, paused and run", async () => {
  const { agent, environment } = await stage();
  const made = await beta.deployments.create({
    name: "d", agent: agent.id, environment_id: environment.id, initial_events: [hello],
    schedule: { type: "cron", expression: "30 9 * * *", timezone: "Europe/Vienna" },
  });
  assert.equal(made.schedule?.upcoming_runs_at?.length, 5);
  assert.equal((await beta.deployments.pause(made.id)).status, "paused");
  assert.equal((await beta.deployments.unpause(made.id)).status, "active");
  const run = await beta.deployments.run(made.id);
  assert(run.session_id);
  assert.deepEqual((await all(beta.deploymentRuns.list({ deployment_id: made.id }))).map((each) => each.id), [run.id]);
  assert((await beta.deployments.archive(made.id)).archived_at);
});

test("a webhook is verified by unwrap, and a changed one is not", async () => {
  const posted = Promise.withResolvers<{ body: string; headers: Record<string, string> }>();
  const receiver = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    response.writeHead(204).end();
    posted.resolve({ body: Buffer.concat(parts).toString(), headers: request.headers as Record<string, string> });
  });
  await new Promise<void>((listening) => receiver.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
  const hook = await client.post<{ id: string; secret: string }>("/-/webhooks", {
    body: { url, events: ["vault.created"] },
  });
  try {
    const vault = await beta.vaults.create({ display_name: "v" });
    const { body, headers } = await posted.promise;
    const event = beta.webhooks.unwrap(body, { headers, key: hook.secret });
    assert.equal(event.data.type, "vault.created");
    assert.equal(event.data.id, vault.id);
    assert.throws(() => beta.webhooks.unwrap(`${body} `, { headers, key: hook.secret }));
  } finally {
    await client.delete(`/-/webhooks/${hook.id}`);
    receiver.closeAllConnections();
    receiver.close();
  }
});
