from dagnats import Workflow, handler


@handler("greeting.fetch-name")
async def fetch_name(user_id: int) -> str:
    return {1: "Ada"}.get(user_id, "stranger")


@handler("greeting.greet")
async def greet(name: str) -> str:
    return f"Hello, {name}!"


wf = Workflow("greeting", timeout="1m")
name = wf.task("name", fetch_name)
greeting = wf.task("greeting", greet).after(name).with_timeout("5s")
